import { appSettings, extraAppSettings, identityRef, scaleSettings } from 'types.bicep'

param name string
param location string
param tags object
param identity identityRef
param storageName string

@description('Where the deployment package lies: URL of a blob container.')
param packageUrl string

@description('Where the vault\'s secrets are: URL without a slash at its end.')
param secrets string
param insightsName string
param workspaceId string
param pythonVersion string
param scale scaleSettings

@description('Origins whose pages may call the app from a browser; none by default.')
param allowedOrigins string[]

@description('Whether the vault has a signing-key, which infra/signing-key.sh makes.')
param signModels bool
param settings appSettings

@description('Other settings. What the deployment sets goes before one of the same name.')
param extraSettings extraAppSettings

@description('Subnet that the app calls out through; empty: none.')
param subnetId string

resource storage 'Microsoft.Storage/storageAccounts@2024-01-01' existing = {
  name: storageName
}

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

resource plan 'Microsoft.Web/serverfarms@2024-11-01' = {
  name: 'plan-${name}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
  }
}

resource site 'Microsoft.Web/sites@2024-11-01' = {
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': 'api' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identity.id}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    keyVaultReferenceIdentity: identity.id
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    siteConfig: {
      minTlsVersion: '1.2'
      http20Enabled: true
      cors: {
        allowedOrigins: allowedOrigins
      }
    }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: packageUrl
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identity.id
          }
        }
      }
      scaleAndConcurrency: {
        instanceMemoryMB: scale.instanceMemoryMB
        maximumInstanceCount: scale.maximumInstanceCount
        alwaysReady: scale.alwaysReadyHttp > 0
          ? [
              {
                name: 'http'
                instanceCount: scale.alwaysReadyHttp
              }
            ]
          : []
        triggers: {
          http: {
            perInstanceConcurrency: scale.httpConcurrency
          }
        }
      }
      runtime: {
        name: 'python'
        version: pythonVersion
      }
    }
  }

  resource ftp 'basicPublishingCredentialsPolicies' = {
    name: 'ftp'
    properties: {
      allow: false
    }
  }

  resource scm 'basicPublishingCredentialsPolicies' = {
    name: 'scm'
    properties: {
      allow: false
    }
  }

  resource environmentVariables 'config' = {
    name: 'appsettings'
    properties: union(
      extraSettings,
      toObject(filter(items(settings), s => !empty(s.value)), s => s.key, s => s.value),
      signModels ? { RANKLOOP_SIGNING_KEY: '@Microsoft.KeyVault(SecretUri=${secrets}/signing-key)' } : {},
      {
        RANKLOOP_KEY: '@Microsoft.KeyVault(SecretUri=${secrets}/deployment-key)'
        // Addresses and no key: the app shows its identity. An account's name would do in the public cloud alone.
        RANKLOOP_STORAGE: 'BlobEndpoint=${storage.properties.primaryEndpoints.blob};QueueEndpoint=${storage.properties.primaryEndpoints.queue};TableEndpoint=${storage.properties.primaryEndpoints.table}'
        // The host's own page would stand before ours.
        AzureWebJobsDisableHomepage: 'true'
        AzureWebJobsStorage__credential: 'managedidentity'
        AzureWebJobsStorage__clientId: identity.clientId
        AzureWebJobsStorage__blobServiceUri: storage.properties.primaryEndpoints.blob
        AzureWebJobsStorage__queueServiceUri: storage.properties.primaryEndpoints.queue
        AzureWebJobsStorage__tableServiceUri: storage.properties.primaryEndpoints.table
        APPLICATIONINSIGHTS_CONNECTION_STRING: insights.properties.ConnectionString
        APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identity.clientId};Authorization=AAD'
        // Which identity the Azure SDKs use, and that they look for no other kind.
        AZURE_CLIENT_ID: identity.clientId
        AZURE_TOKEN_CREDENTIALS: 'ManagedIdentityCredential'
      }
    )
  }
}

resource metrics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: site
  properties: {
    workspaceId: workspaceId
    metrics: [
      {
        category: 'AllMetrics'
        enabled: true
      }
    ]
  }
}

output name string = site.name
output hostName string = site.properties.defaultHostName
