// A real OpenID provider for the test of sign-ins by accounts elsewhere: whoever
// comes is signed in as Ada, and has agreed. Its packages are where the first
// argument says; the second is where it may send browsers back to.
import http from 'node:http';
import { pathToFileURL } from 'node:url';

const [modules, redirect] = process.argv.slice(2);
const entry = pathToFileURL(`${modules}/oidc-provider/lib/index.js`).href;
const { default: Provider } = await import(entry);

const server = http.createServer();
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const issuer = `http://127.0.0.1:${server.address().port}`;

const client = (client_id, more) => ({
  client_id,
  client_secret: 'a secret: with signs +/%',
  redirect_uris: [redirect],
  ...more,
});

const provider = new Provider(issuer, {
  clients: [
    client('avvyland', {}),
    client('by-form', { token_endpoint_auth_method: 'client_secret_post' }),
  ],
  claims: { openid: ['sub'], profile: ['name'] },
  conformIdTokenClaims: false,
  cookies: { keys: ['a key of this test'] },
  features: { devInteractions: { enabled: false } },
  findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub, name: 'Ada' }) }),
  interactions: { url: (_, { uid }) => `/interaction/${uid}` },
  pkce: { required: () => true },
});

const answer = provider.callback();
server.on('request', async (request, response) => {
  if (!request.url.startsWith('/interaction/')) return answer(request, response);
  const { prompt, params, session } = await provider.interactionDetails(request, response);
  let result = { login: { accountId: 'ada|7' } };
  if (params.login_hint === 'refuse') {
    result = { error: 'access_denied' };
  } else if (prompt.name === 'consent') {
    const grant = new provider.Grant({
      accountId: session.accountId,
      clientId: params.client_id,
    });
    grant.addOIDCScope('openid profile');
    result = { consent: { grantId: await grant.save() } };
  }
  return provider.interactionFinished(request, response, result, {
    mergeWithLastSubmission: prompt.name === 'consent',
  });
});

console.log(issuer);
