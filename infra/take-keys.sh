#!/usr/bin/env sh
# Has the app fetch its keys from the vault again, now, and serve with them. Azure keeps what it has fetched for up to a
# day, and a restart alone changes nothing about that.
set -eu

app="/subscriptions/$(azd env get-value AZURE_SUBSCRIPTION_ID)/resourceGroups/$(azd env get-value AZURE_RESOURCE_GROUP)\
/providers/Microsoft.Web/sites/$(azd env get-value SERVICE_API_NAME)"

# A path alone: az puts the address of the cloud that it is signed in to before it.
az rest --method post --url "$app/config/configreferences/appsettings/refresh?api-version=2022-03-01" --output none
az functionapp restart --ids "$app" --output none
echo "Instances of before may serve with the old keys for a minute: ask until they are answered 401."
