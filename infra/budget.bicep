param name string
param tags object
param amount int

@description('The first day of the month to begin with.')
param startDate string

@description('Whom to mail. Without one the owners of the subscription are.')
param emails string[]

// A budget must name an address or an action group: roles alone are not enough.
resource owners 'Microsoft.Insights/actionGroups@2023-01-01' = if (empty(emails)) {
  name: 'ag-${name}'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'budget'
    enabled: true
    armRoleReceivers: [
      {
        name: 'owners'
        roleId: '8e3af657-a8ff-443c-a75c-2fe8c4bcb635'
        useCommonAlertSchema: true
      }
    ]
  }
}

var groups = empty(emails) ? [owners.id] : []

resource spent 'Microsoft.Consumption/budgets@2023-11-01' = {
  name: name
  properties: {
    category: 'Cost'
    amount: amount
    timeGrain: 'Monthly'
    timePeriod: {
      startDate: startDate
    }
    notifications: {
      actual: {
        enabled: true
        operator: 'GreaterThanOrEqualTo'
        threshold: 90
        thresholdType: 'Actual'
        contactEmails: emails
        contactGroups: groups
        contactRoles: ['Owner']
      }
      forecast: {
        enabled: true
        operator: 'GreaterThan'
        threshold: 100
        thresholdType: 'Forecasted'
        contactEmails: emails
        contactGroups: groups
        contactRoles: ['Owner']
      }
    }
  }
}
