@export()
@description('How far the app scales, and what an instance is.')
type scaleSettings = {
  @description('Memory of an instance in MB; 512 has a quarter of a core, 2048 one, 4096 two.')
  instanceMemoryMB: 512 | 2048 | 4096

  @description('Instances at most of each group: one group serves HTTP, each timer and the queue have their own.')
  @minValue(1)
  @maxValue(1000)
  maximumInstanceCount: int

  @description('Calls that one instance answers at a time. Azure would take 1 for a Python app.')
  @minValue(1)
  @maxValue(1000)
  httpConcurrency: int

  @description('HTTP instances that run all the time, and are paid for all the time.')
  @minValue(0)
  @maxValue(1000)
  alwaysReadyHttp: int
}

@export()
@sealed()
@description('Settings of the app that docs/operations.md describes. One that is empty keeps the app\'s own default.')
type appSettings = {
  OTEL_EXPORTER_OTLP_ENDPOINT: string
  OTEL_SDK_DISABLED: string
  OTEL_TRACES_SAMPLER_ARG: string
  RANKLOOP_ENTRA_AUDIENCES: string
  RANKLOOP_ENTRA_AUTHORITY: string
  RANKLOOP_ENTRA_CLIENT: string
  RANKLOOP_ENTRA_TENANT: string
  RANKLOOP_JOIN_SCHEDULE: string
  RANKLOOP_JOURNAL_PRUNE: string
  RANKLOOP_LINGER_MS: string
  RANKLOOP_LOG_DEADLINE_MS: string
  RANKLOOP_MAX_BODY_BYTES: string
  RANKLOOP_MIRROR_HOSTS: string
  RANKLOOP_REWARD_DEADLINE_MS: string
  RANKLOOP_SHARDS: string
  RANKLOOP_STRICT_RANK: string
  RANKLOOP_TRAIN_SCHEDULE: string
  RANKLOOP_TRUSTED_SIGNERS: string
  RANKLOOP_WORK_CONNECTION: string
}

@export()
@description('Settings by their names: of OpenTelemetry, of the Functions host. They can be read by whoever may read the deployment.')
type extraAppSettings = {
  *: string
}

@export()
type identityRef = {
  id: string
  clientId: string
}

@export()
@description('Who deploys, and of what kind.')
type person = {
  id: string
  type: 'Group' | 'ServicePrincipal' | 'User'
}

@export()
@sealed()
@description('What the resource group may cost a month, in the subscription\'s currency.')
type budgetSettings = {
  @minValue(1)
  amount: int

  @description('BUDGET_START: the first day of this month or of one of the next three, as 2027-01-01. Azure lets nobody change it.')
  @minLength(10)
  @maxLength(10)
  startDate: string
}
