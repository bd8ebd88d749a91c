#!/usr/bin/env bash
# What a client does that proves to have its RSA key (RFC 9449):
#   proof.sh KEY                     the claim that binds a token to the key
#   proof.sh KEY METHOD URL TOKEN    a proof for one request with that token
set -euo pipefail
base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
hash() { printf %s "$1" | openssl dgst -sha256 -binary | base64url; }
modulus=$(printf "$(openssl rsa -in "$1" -noout -modulus | cut -d= -f2 | sed 's/../\\x&/g')" | base64url)
jwk=$(printf '{"e":"AQAB","kty":"RSA","n":"%s"}' "$modulus")
if [ $# = 1 ]; then
  printf '"cnf":{"jkt":"%s"}\n' "$(hash "$jwk")"
  exit
fi
header=$(printf '{"typ":"dpop+jwt","alg":"RS256","jwk":%s}' "$jwk" | base64url)
claims=$(printf '{"jti":"%s","htm":"%s","htu":"%s","iat":%s,"ath":"%s"}' \
  "$(openssl rand -hex 16)" "$2" "$3" "$(date +%s)" "$(hash "$4")" | base64url)
signature=$(printf '%s.%s' "$header" "$claims" | openssl dgst -sha256 -sign "$1" | base64url)
printf '%s.%s.%s\n' "$header" "$claims" "$signature"
