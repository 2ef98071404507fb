@minLength(3)
@maxLength(24)
param name string
param location string
param tags object

@description('Whether the vault answers from outside the virtual network.')
param public bool

@description('Keep a deleted vault for 90 days, whoever asks. Its name is taken until then.')
param purgeProtection bool

@description('The deployment key, if there is none yet.')
@secure()
param newKey string
param workspaceId string

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: {
      family: 'A'
      name: 'standard'
    }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: purgeProtection ? 90 : 7
    // Azure takes true or nothing.
    enablePurgeProtection: purgeProtection ? true : null
    publicNetworkAccess: public ? 'Enabled' : 'Disabled'
    networkAcls: {
      defaultAction: public ? 'Allow' : 'Deny'
      // Azure Resource Manager writes the key below, wherever the vault answers.
      bypass: 'AzureServices'
    }
  }
}

// Made once: a later deployment leaves alone what is there, and whatever key has taken its place. Beside the vault, not
// within: for a decorated resource within another, Bicep up to 0.39 writes a template that Azure refuses.
@onlyIfNotExists()
resource deploymentKey 'Microsoft.KeyVault/vaults/secrets@2024-11-01' = {
  parent: vault
  name: 'deployment-key'
  tags: tags
  properties: {
    contentType: 'RANKLOOP_KEY'
    value: newKey
  }
}

resource audit 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: vault
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        categoryGroup: 'audit'
        enabled: true
      }
    ]
    metrics: [
      {
        category: 'AllMetrics'
        enabled: true
      }
    ]
  }
}

output name string = vault.name
output id string = vault.id
output secrets string = '${vault.properties.vaultUri}secrets'
