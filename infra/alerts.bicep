// What somebody should be told of, and the workbook to look at then. docs/deploy.md says what to do for each.
param name string
param location string
param tags object

@description('Whom alerts are mailed to. Without one they are shown in the portal alone.')
param emails string[]
param insightsId string

@description('Whether the app tells of its metrics. Without them a rule that asks whether they come would fire for ever.')
param measured bool
param storageId string

// The host names requests by their function. Timers and queue messages are requests, too.
var rules = [
  {
    name: 'failing'
    about: 'More than 5 % of 50 calls or more are answered 500 or above, or of fewer calls five.'
    severity: 1
    query: '''
      requests
      | where name !in ('join_timer', 'train_timer', 'work')
      | summarize calls = count(), failed = countif(toint(resultCode) >= 500)
      | project measured = iff(calls >= 50 or failed >= 5, 100.0 * failed / calls, 0.0)
    '''
    operator: 'GreaterThan'
    threshold: 5
  }
  {
    name: 'join-lags'
    about: 'Events wait for 15 minutes longer than they should to be joined with their rewards, or no join was run.'
    severity: 1
    query: '''
      customMetrics
      | where name == 'rankloop.join.lag'
      | summarize told = count(), worst = max(value)
      | project measured = iff(told == 0, 86400.0, worst)
    '''
    operator: 'GreaterThan'
    threshold: 900
  }
  {
    name: 'model-is-late'
    about: 'A loop has something to learn, and its next model is due for half an hour; or no training was run.'
    severity: 2
    query: '''
      customMetrics
      | where name == 'rankloop.model.late'
      | summarize told = count(), worst = max(value)
      | project measured = iff(told == 0, 86400.0, worst)
    '''
    operator: 'GreaterThan'
    threshold: 1800
  }
  {
    name: 'buffer-fills'
    about: 'An instance holds 48 MiB of events that storage has not taken; at 96 MiB it refuses calls.'
    severity: 2
    query: '''
      customMetrics
      | where name == 'rankloop.journal.waiting'
      | summarize measured = max(value)
    '''
    operator: 'GreaterThan'
    threshold: 50331648
  }
  {
    name: 'events-lost'
    about: 'Events could not be written, or came too late for the log: storage is slow or down.'
    severity: 1
    query: '''
      customMetrics
      | where name == 'rankloop.count' and customDimensions.name == 'journal.lost'
      | summarize measured = sum(value)
    '''
    operator: 'GreaterThan'
    threshold: 0
  }
  {
    name: 'work-fails'
    about: 'A piece of work, a timer\'s task or a model has failed; the log says which.'
    severity: 2
    query: '''
      customMetrics
      | where name == 'rankloop.count'
      | extend what = tostring(customDimensions.name)
      | where what in ('model.refused', 'train.held') or (what endswith '.failed' and what != 'storage.failed')
      | summarize measured = sum(value)
    '''
    operator: 'GreaterThan'
    threshold: 0
  }
]

resource group 'Microsoft.Insights/actionGroups@2023-01-01' = if (!empty(emails)) {
  name: 'ag-${name}'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'rankloop'
    enabled: true
    emailReceivers: [for (address, i) in emails: {
      name: 'mail-${i}'
      emailAddress: address
      useCommonAlertSchema: true
    }]
  }
}

resource rule 'Microsoft.Insights/scheduledQueryRules@2021-08-01' = [for r in rules: {
  name: '${name}-${r.name}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: '${name}: ${r.name}'
    description: r.about
    severity: r.severity
    enabled: measured || !contains(r.query, 'customMetrics')
    scopes: [insightsId]
    evaluationFrequency: 'PT15M'
    windowSize: 'PT15M'
    criteria: {
      allOf: [
        {
          query: r.query
          timeAggregation: 'Total'
          metricMeasureColumn: 'measured'
          operator: r.operator
          threshold: r.threshold
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    autoMitigate: true
    actions: {
      actionGroups: empty(emails) ? [] : [group.id]
    }
  }
}]

resource storageDown 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: '${name}-storage-fails'
  location: 'global'
  tags: tags
  properties: {
    description: 'The storage account answers fewer than 99 of 100 requests.'
    severity: 1
    enabled: true
    scopes: [storageId]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'availability'
          metricNamespace: 'Microsoft.Storage/storageAccounts'
          metricName: 'Availability'
          timeAggregation: 'Average'
          operator: 'LessThan'
          threshold: 99
        }
      ]
    }
    autoMitigate: true
    actions: empty(emails)
      ? []
      : [
          {
            actionGroupId: group.id
          }
        ]
  }
}

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(insightsId, 'workbook')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    category: 'workbook'
    displayName: 'Rankloop ${name}'
    sourceId: insightsId
    version: 'Notebook/1.0'
    serializedData: loadTextContent('workbook.json')
  }
}
