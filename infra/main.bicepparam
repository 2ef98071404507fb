// What `azd env set NAME VALUE` changes, and what holds without it. any(): main.bicep says what the value may be, and
// Azure checks it; the compiler knows only that it is a string.
using './main.bicep'

param environmentName = readEnvironmentVariable('AZURE_ENV_NAME', 'dev')
param location = readEnvironmentVariable('AZURE_LOCATION', 'westeurope')
param pythonVersion = any(readEnvironmentVariable('PYTHON_VERSION', '3.13'))

param vnetEnabled = bool(readEnvironmentVariable('VNET_ENABLED', 'false'))
param vnetAddressPrefix = readEnvironmentVariable('VNET_ADDRESS_PREFIX', '10.0.0.0/16')

param deployer = bool(readEnvironmentVariable('PERSON_RIGHTS', 'true')) && !empty(readEnvironmentVariable('AZURE_PRINCIPAL_ID', ''))
  ? {
      id: readEnvironmentVariable('AZURE_PRINCIPAL_ID', '')
      type: any(readEnvironmentVariable('AZURE_PRINCIPAL_TYPE', 'User'))
    }
  : null

param scale = {
  instanceMemoryMB: any(int(readEnvironmentVariable('INSTANCE_MEMORY_MB', '2048')))
  maximumInstanceCount: int(readEnvironmentVariable('MAXIMUM_INSTANCES', '40'))
  httpConcurrency: int(readEnvironmentVariable('HTTP_CONCURRENCY', '16'))
  alwaysReadyHttp: int(readEnvironmentVariable('ALWAYS_READY', '0'))
}

param storageSku = any(readEnvironmentVariable('STORAGE_SKU', 'Standard_ZRS'))
param softDeleteDays = int(readEnvironmentVariable('SOFT_DELETE_DAYS', '7'))
param retentionDays = int(readEnvironmentVariable('LOG_RETENTION_DAYS', '30'))
param purgeProtection = bool(readEnvironmentVariable('PURGE_PROTECTION', 'false'))
param allowedOrigins = filter(split(readEnvironmentVariable('ALLOWED_ORIGINS', ''), ','), o => !empty(o))
param signModels = bool(readEnvironmentVariable('SIGN_MODELS', 'false'))

param alertEmails = filter(split(readEnvironmentVariable('ALERT_EMAILS', ''), ','), e => !empty(e))
// No month by default: Azure takes none that is over, and none but the first one once there is a budget.
param budget = int(readEnvironmentVariable('BUDGET_AMOUNT', '0')) > 0
  ? {
      amount: int(readEnvironmentVariable('BUDGET_AMOUNT', '0'))
      startDate: readEnvironmentVariable('BUDGET_START', '')
    }
  : null

// Settings that have no name here. A provision takes away what was set by hand, so that this is their only place.
param extraSettings = any(json(readEnvironmentVariable('EXTRA_SETTINGS', '{}')))

param settings = {
  OTEL_EXPORTER_OTLP_ENDPOINT: readEnvironmentVariable('OTEL_EXPORTER_OTLP_ENDPOINT', '')
  OTEL_SDK_DISABLED: readEnvironmentVariable('OTEL_SDK_DISABLED', '')
  OTEL_TRACES_SAMPLER_ARG: readEnvironmentVariable('OTEL_TRACES_SAMPLER_ARG', '')
  RANKLOOP_ENTRA_AUDIENCES: readEnvironmentVariable('RANKLOOP_ENTRA_AUDIENCES', '')
  RANKLOOP_ENTRA_AUTHORITY: readEnvironmentVariable('RANKLOOP_ENTRA_AUTHORITY', '')
  RANKLOOP_ENTRA_CLIENT: readEnvironmentVariable('RANKLOOP_ENTRA_CLIENT', '')
  RANKLOOP_ENTRA_TENANT: readEnvironmentVariable('RANKLOOP_ENTRA_TENANT', '')
  RANKLOOP_JOIN_SCHEDULE: readEnvironmentVariable('RANKLOOP_JOIN_SCHEDULE', '')
  RANKLOOP_JOURNAL_PRUNE: readEnvironmentVariable('RANKLOOP_JOURNAL_PRUNE', '')
  RANKLOOP_LINGER_MS: readEnvironmentVariable('RANKLOOP_LINGER_MS', '')
  RANKLOOP_LOG_DEADLINE_MS: readEnvironmentVariable('RANKLOOP_LOG_DEADLINE_MS', '')
  RANKLOOP_MAX_BODY_BYTES: readEnvironmentVariable('RANKLOOP_MAX_BODY_BYTES', '')
  RANKLOOP_MIRROR_HOSTS: readEnvironmentVariable('RANKLOOP_MIRROR_HOSTS', '')
  RANKLOOP_REWARD_DEADLINE_MS: readEnvironmentVariable('RANKLOOP_REWARD_DEADLINE_MS', '')
  RANKLOOP_SHARDS: readEnvironmentVariable('RANKLOOP_SHARDS', '')
  RANKLOOP_STRICT_RANK: readEnvironmentVariable('RANKLOOP_STRICT_RANK', '')
  RANKLOOP_TRAIN_SCHEDULE: readEnvironmentVariable('RANKLOOP_TRAIN_SCHEDULE', '')
  RANKLOOP_TRUSTED_SIGNERS: readEnvironmentVariable('RANKLOOP_TRUSTED_SIGNERS', '')
  RANKLOOP_WORK_CONNECTION: readEnvironmentVariable('RANKLOOP_WORK_CONNECTION', '')
}
