#!/usr/bin/env bash
# An access token for ten minutes, as an issuer would sign it: token.sh KEY CLAIM...
#   token.sh idp.key '"scope":"read"'
set -euo pipefail
key=$1
shift
base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
now=$(date +%s)
header=$(printf '{"alg":"RS256","typ":"at+jwt"}' | base64url)
claims=$(printf '{"iss":"https://idp.example.com","aud":"store","sub":"alice","iat":%s,"exp":%s%s}' \
  "$now" "$((now + 600))" "$(printf ',%s' "$@")" | base64url)
signature=$(printf '%s.%s' "$header" "$claims" | openssl dgst -sha256 -sign "$key" | base64url)
printf '%s.%s.%s\n' "$header" "$claims" "$signature"
