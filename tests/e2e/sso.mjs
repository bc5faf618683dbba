// Somebody comes in through a foreign identity provider (a certified implementation), which keeps addresses and groups out of its tokens.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { readFileSync } from 'node:fs';
import { strict as assert } from 'node:assert';
import { createServer } from 'node:http';
import { join } from 'node:path';

const require = createRequire(join(process.argv[2], 'package.json'));
const { chromium } = require('playwright-core');
const { default: Provider } = await import(pathToFileURL(require.resolve('oidc-provider')));
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const url = process.env.GRANARY_URL;
const shots = process.env.SCREENSHOTS;
const password = 'granary-demo';
const groups = { grace: ['Desk', 'Others'], nobody: ['Others'], heidi: ['Money'] };
let passed = 0;

function check(name, condition, detail = '') {
  assert.ok(condition, `${name} ${detail}`);
  passed += 1;
  console.log(`ok ${passed} - ${name}`);
}

const server = createServer();
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;

// What the provider has to know of Granary is known once the page told it.
function provider(redirect) {
  const claims = (id) => ({ sub: id, email: `${id}@northwind.example`, email_verified: true, name: `${id} of Northwind`, groups: groups[id] });
  const oidc = new Provider(issuer, {
    clients: [{ client_id: 'granary', client_secret: 'not a secret at all', redirect_uris: [redirect] }],
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'], groups: ['groups'] },
    scopes: ['openid', 'email', 'profile', 'groups'],
    findAccount: (_, id) => ({ accountId: id, claims: () => claims(id) }),
    cookies: { keys: ['for a test'] },
    pkce: { required: () => true },
  });
  server.on('request', oidc.callback());
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

async function accessible(page, name) {
  await page.evaluate(axe);
  const result = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  const violations = result.violations.map((violation) => `${violation.id}: ${violation.nodes.map((node) => node.target).join(', ')}`);
  check(`${name} has no accessibility violation`, violations.length === 0, violations.join('\n'));
}

async function byPassword(page, email) {
  await page.goto(url + '/login');
  await page.getByLabel('E-mail').fill(email);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
}

// To the provider's own login, and back.
async function byProvider(who, next = '/login') {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, reducedMotion: 'reduce' });
  const page = await context.newPage();
  await page.goto(url + next);
  await page.getByRole('link', { name: 'Sign in with your organisation' }).click();
  if (who === 'grace') await accessible(page, 'the question where to sign in');
  await page.getByLabel('E-mail').fill(`${who}@northwind.example`);
  await page.getByRole('button', { name: 'Go on' }).click();
  await page.waitForURL(`${issuer}/**`);
  await page.locator('input[name=login]').fill(who);
  await page.locator('input[name=password]').fill('anything');
  await page.locator('button[type=submit]').click();
  await page.getByRole('button', { name: /continue/i }).click();
  await page.waitForURL(`${url}/**`);
  return page;
}

try {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, reducedMotion: 'reduce' });
  const page = await context.newPage();
  await byPassword(page, 'admin@northwind.example');
  await page.waitForURL(url + '/');
  await page.getByRole('link', { name: 'People' }).click();
  await page.getByRole('link', { name: 'Single sign-on' }).click();
  const redirect = await page.locator('main code', { hasText: '/callback' }).innerText();
  check('the page tells where to come back to', redirect.startsWith(`${url}/login/sso/`), redirect);
  provider(redirect);
  await page.getByLabel('Issuer').fill(issuer);
  await page.getByLabel('Client id').fill('granary');
  await page.getByLabel('Client secret').fill('not a secret at all');
  await page.getByLabel('Groups and roles').fill('Desk = msp_operator\nMoney = msp_finance');
  await page.getByLabel('Domains').fill('northwind.example');
  await page.getByRole('checkbox', { name: /^On/ }).check();
  await page.getByRole('button', { name: 'Set it up' }).click();
  check('a provider is set up', await page.getByRole('status').isVisible(), await page.locator('main').innerText());
  check('its secret is not shown again', (await page.getByLabel('Client secret').inputValue()) === '' && !(await page.content()).includes('not a secret'));
  await page.getByRole('button', { name: 'Ask the provider' }).click();
  check('it answers', await page.getByText(`${issuer}/token`).isVisible(), await page.locator('main').innerText());
  await accessible(page, 'the page of single sign-on');
  await page.screenshot({ path: join(shots, 'sso.png'), fullPage: true });

  const grace = await byProvider('grace', '/customers');
  check('somebody comes in through the provider, and where they wanted to', new URL(grace.url()).pathname === '/customers', grace.url());
  await grace.goto(url + '/account');
  check('with the name and the role of the provider', (await grace.locator('a.me').innerText()) === 'grace of Northwind' && (await grace.locator('a.me').getAttribute('title')) === 'Operations');
  const cookies = await grace.context().cookies(url);
  const session = cookies.find((cookie) => cookie.name === 'granary_session');
  check('the session is for no script', session.httpOnly && session.sameSite === 'Lax');
  check('nothing is left of the way', !cookies.some((cookie) => cookie.name === 'granary_sso'));

  const nobody = await byProvider('nobody');
  check('who has no group is told so', (await nobody.getByRole('alert').innerText()).includes('None of your groups') || (await nobody.getByRole('alert').innerText()).includes('none of your groups'));
  await accessible(nobody, 'the refusal');
  await nobody.goBack({ waitUntil: 'commit' }).catch(() => {});
  await nobody.goto(url + '/customers');
  check('and is not in', new URL(nobody.url()).pathname === '/login', nobody.url());

  groups.grace = ['Money'];
  const again = await byProvider('grace');
  await again.goto(url + '/account');
  check('the groups of today decide', (await again.locator('a.me').getAttribute('title')) === 'Finance');

  await page.getByRole('checkbox', { name: /^Refuse passwords/ }).check();
  await page.getByRole('button', { name: 'Set it up' }).click();
  check('passwords are refused from now on', await page.getByText('passwords are refused').first().isVisible());
  const other = await (await browser.newContext()).newPage();
  await byPassword(other, 'analyst@northwind.example');
  check('a right password is refused in words', (await other.getByRole('alert').innerText()).includes('organisation'));
  await byPassword(other, 'admin@northwind.example');
  await other.waitForURL(url + '/');
  check('but for the one behind glass', (await other.locator('main h1').count()) === 1);

  await page.getByLabel('Why').fill('the test is over');
  await page.getByRole('button', { name: 'Remove the provider' }).click();
  check('a provider is removed', await page.getByRole('status').isVisible());
  await again.goto(url + '/customers');
  check('and its sessions have ended', new URL(again.url()).pathname === '/login', again.url());
  await byPassword(other, 'analyst@northwind.example');
  await other.waitForURL((address) => address.pathname !== '/login');
  check('passwords are taken again', true);
} finally {
  await browser.close();
  server.close();
  server.closeAllConnections();
}
console.log(`${passed} passed, 0 failed`);
