#!/usr/bin/env sh
# Makes the key that signs exported models and puts it into the environment's vault; it never touches a disk. One that is
# there already is left as it is, unless the word `replace` is given.
# It goes through Azure Resource Manager: whoever may deploy may do it, also where the vault is closed to the internet.
set -eu

case "${1-}" in
  "" | replace) ;;
  *) echo "usage: sh infra/signing-key.sh [replace]" >&2; exit 2 ;;
esac
vault=$(azd env get-value AZURE_KEY_VAULT_ID)
url="https://management.azure.com$vault/secrets/signing-key?api-version=2024-11-01"

if [ "${1-}" != replace ] && az rest --method get --url "$url" --output none 2>/dev/null; then
  echo "The vault has a signing-key already: left as it is."
else
  openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 2>/dev/null |
    awk '{ text = text $0 "\\n" } END { printf "{\"properties\": {\"contentType\": \"RANKLOOP_SIGNING_KEY\", \"value\": \"%s\"}}", text }' |
    az rest --method put --url "$url" --headers Content-Type=application/json --body @/dev/stdin --output none
fi
azd env set SIGN_MODELS true
echo "Now: azd provision; where the key was replaced, sh infra/take-keys.sh behind it"
