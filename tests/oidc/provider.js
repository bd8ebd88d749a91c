// A certified OpenID provider for tests: clients, tokens of every form, introspection, revocation, DPoP.
//
//     node provider.js '{"port": 0}'
//
// Says where it is in one line of JSON, and ends when its standard input does.

import { createServer } from 'node:http';
import { exportJWK, generateKeyPair } from 'jose';
import Provider from 'oidc-provider';

const wish = { port: 0, tokenSeconds: 600, requireNonce: false, ...JSON.parse(process.argv[2] ?? '{}') };

// Which form a token has depends on what it is for (RFC 8707).
const RESOURCES = {
  'urn:microgw:jwt': { accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } },
  'urn:microgw:jwt-rsa': { accessTokenFormat: 'jwt', jwt: { sign: { alg: 'PS256' } } },
  'urn:microgw:opaque': { accessTokenFormat: 'opaque' },
};
const DEFAULT_RESOURCE = 'urn:microgw:jwt';

const client = (id, more) => ({
  client_id: id,
  client_secret: `${id}-secret-of-the-test`,
  grant_types: ['client_credentials'],
  response_types: [],
  redirect_uris: [],
  token_endpoint_auth_method: 'client_secret_basic',
  ...more,
});
const clients = [
  client('app'),
  client('other'),
  client('dpop-app', { dpop_bound_access_tokens: true }),
  // Asks about the tokens of others.
  client('gateway'),
  client('gateway-post', { token_endpoint_auth_method: 'client_secret_post' }),
];

async function key(alg, options) {
  const { privateKey } = await generateKeyPair(alg, { extractable: true, ...options });
  return { ...(await exportJWK(privateKey)), alg, use: 'sig' };
}

const keys = async () => ({ keys: [await key('RS256'), await key('PS256'), await key('ES256'), await key('EdDSA')] });

function provider(issuer, jwks) {
  const made = new Provider(issuer, {
    clients,
    jwks,
    scopes: ['read', 'write'],
    ttl: { ClientCredentials: wish.tokenSeconds },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: {
        enabled: true,
        allowedPolicy: (_, asking) => asking.clientId.startsWith('gateway'),
      },
      revocation: { enabled: true },
      dPoP: { enabled: true, nonceSecret: Buffer.alloc(32, 7), requireNonce: () => wish.requireNonce },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => DEFAULT_RESOURCE,
        useGrantedResource: () => true,
        getResourceServerInfo(_, resource) {
          if (!(resource in RESOURCES)) throw new Error('no such resource');
          return { scope: 'read write', audience: 'microgw', accessTokenTTL: wish.tokenSeconds, ...RESOURCES[resource] };
        },
      },
    },
    extraTokenClaims: () => ({ tenant: 'gold', roles: ['reader', 'writer'] }),
  });
  made.on('server_error', (_, error) => console.error(error));
  return made;
}

// Before anybody can ask.
const first = await keys();
let handle;
const server = createServer(async (request, response) => {
  if (request.method === 'POST' && request.url === '/test/rotate') {
    // Tokens that were issued stay in memory; those who sign do not.
    handle = provider(issuer, await keys()).callback();
    response.end();
  } else {
    handle(request, response);
  }
});
await new Promise((listening) => server.listen(wish.port, '127.0.0.1', listening));
const issuer = `http://127.0.0.1:${server.address().port}`;
handle = provider(issuer, first).callback();
console.log(JSON.stringify({ issuer }));
process.stdin.on('end', () => process.exit()).resume();
