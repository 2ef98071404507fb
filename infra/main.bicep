// A deployment of Rankloop in a resource group of its own: `azd up`. docs/deploy.md explains every parameter.
targetScope = 'subscription'

import { appSettings, budgetSettings, extraAppSettings, person, scaleSettings } from 'types.bicep'

@minLength(1)
@maxLength(64)
@description('Name of the azd environment. Several stand side by side, each with resources of its own.')
param environmentName string

@description('Region of all resources; it must offer Flex Consumption.')
param location string

@description('Close storage and vault to the internet, and let the app reach them through a virtual network.')
param vnetEnabled bool

@description('Addresses of the virtual network.')
param vnetAddressPrefix string

@description('Whoever deploys may then read keys and data. Null: nobody but the app may.')
param deployer person?

@allowed(['3.13', '3.14'])
param pythonVersion string
param scale scaleSettings
param storageSku string
param softDeleteDays int
param retentionDays int
param purgeProtection bool
param allowedOrigins string[]
param signModels bool
param settings appSettings
param extraSettings extraAppSettings
param alertEmails string[]

@description('Null: no budget.')
param budget budgetSettings?

@secure()
@description('The deployment key of a new environment. An environment that has one keeps it.')
param newKey string = replace('${newGuid()}${newGuid()}', '-', '')

var token = toLower(uniqueString(subscription().id, environmentName, location))
var tags = { 'azd-env-name': environmentName }
var packageContainer = 'app-package'

resource rg 'Microsoft.Resources/resourceGroups@2024-11-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: tags
}

module identity 'identity.bicep' = {
  name: 'identity'
  scope: rg
  params: {
    name: 'id-${token}'
    location: location
    tags: tags
  }
}

module monitoring 'monitoring.bicep' = {
  name: 'monitoring'
  scope: rg
  params: {
    name: token
    location: location
    tags: tags
    retentionDays: retentionDays
  }
}

module storage 'storage.bicep' = {
  name: 'storage'
  scope: rg
  params: {
    name: 'st${token}'
    location: location
    tags: tags
    sku: storageSku
    public: !vnetEnabled
    packageContainer: packageContainer
    softDeleteDays: softDeleteDays
    workspaceId: monitoring.outputs.workspaceId
  }
}

module vault 'vault.bicep' = {
  name: 'vault'
  scope: rg
  params: {
    name: 'kv-${token}'
    location: location
    tags: tags
    public: !vnetEnabled
    purgeProtection: purgeProtection
    newKey: newKey
    workspaceId: monitoring.outputs.workspaceId
  }
}

module access 'access.bicep' = {
  name: 'access'
  scope: rg
  params: {
    storageName: storage.outputs.name
    vaultName: vault.outputs.name
    insightsName: monitoring.outputs.insightsName
    appPrincipalId: identity.outputs.principalId
    deployer: deployer
  }
}

module network 'network.bicep' = if (vnetEnabled) {
  name: 'network'
  scope: rg
  params: {
    name: 'vnet-${token}'
    location: location
    tags: tags
    addressPrefix: vnetAddressPrefix
    storageName: storage.outputs.name
    vaultName: vault.outputs.name
  }
}

module app 'app.bicep' = {
  name: 'app'
  scope: rg
  params: {
    name: 'rankloop-${token}'
    location: location
    tags: tags
    identity: {
      id: identity.outputs.id
      clientId: identity.outputs.clientId
    }
    storageName: storage.outputs.name
    packageUrl: storage.outputs.packageUrl
    secrets: vault.outputs.secrets
    insightsName: monitoring.outputs.insightsName
    workspaceId: monitoring.outputs.workspaceId
    pythonVersion: pythonVersion
    scale: scale
    allowedOrigins: allowedOrigins
    signModels: signModels
    settings: settings
    extraSettings: extraSettings
    subnetId: vnetEnabled ? network!.outputs.appSubnetId : ''
  }
  // A key that cannot be read yet would keep the app from starting.
  dependsOn: [
    access
  ]
}

module alerts 'alerts.bicep' = {
  name: 'alerts'
  scope: rg
  params: {
    name: token
    location: location
    tags: tags
    emails: alertEmails
    insightsId: monitoring.outputs.insightsId
    measured: toLower(settings.OTEL_SDK_DISABLED) != 'true'
    storageId: storage.outputs.id
  }
}

module spending 'budget.bicep' = if (budget != null) {
  name: 'budget'
  scope: rg
  params: {
    name: 'budget-${token}'
    tags: tags
    amount: budget.?amount ?? 0
    startDate: budget.?startDate ?? ''
    emails: alertEmails
  }
}

output AZURE_LOCATION string = location
output AZURE_TENANT_ID string = tenant().tenantId
output AZURE_RESOURCE_GROUP string = rg.name
output AZURE_KEY_VAULT_NAME string = vault.outputs.name
output AZURE_KEY_VAULT_ID string = vault.outputs.id
output AZURE_STORAGE_ACCOUNT string = storage.outputs.name
output SERVICE_API_NAME string = app.outputs.name
output SERVICE_API_ENDPOINT string = 'https://${app.outputs.hostName}/'
