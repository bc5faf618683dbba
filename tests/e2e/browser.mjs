// A person's first five minutes, in a real browser: the page while everything starts, login, overview, a customer, the PDF.
import { createRequire } from 'node:module';
import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { strict as assert } from 'node:assert';
import { join } from 'node:path';

const require = createRequire(join(process.argv[2], 'package.json'));
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const url = process.env.GRANARY_URL;
const shots = process.env.SCREENSHOTS;
let passed = 0;

function check(name, condition, detail = '') {
  assert.ok(condition, `${name} ${detail}`);
  passed += 1;
  console.log(`ok ${passed} - ${name}`);
}

async function answers(path, until, seconds) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    try {
      const response = await fetch(url + path);
      if (until(response)) return response;
    } catch { /* not listening yet */ }
    assert.ok(Date.now() < end, `${path} did not answer in ${seconds} s`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const begun = Date.now();
await answers('/healthz', (response) => response.ok, 10);
check('a page is served within five seconds of the start', Date.now() - begun < 5000, `${Date.now() - begun} ms`);
await answers('/readyz', (response) => response.ok, 240);

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

async function accessible(page, name) {
  // The page's own policy forbids injected scripts, as it should; axe therefore runs through the debugger.
  await page.evaluate(axe);
  const result = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  const violations = result.violations.map((violation) => `${violation.id}: ${violation.nodes.map((node) => node.target).join(', ')}`);
  check(`${name} has no accessibility violation`, violations.length === 0, violations.join('\n'));
}

// What an authenticator shows so many steps of 30 seconds from now (RFC 6238).
function authenticator(secret, steps = 0) {
  const bits = [...secret.replaceAll('-', '')].map((letter) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(letter).toString(2).padStart(5, '0')).join('');
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + steps));
  const tag = createHmac('sha1', key).update(step).digest();
  return String((tag.readUInt32BE(tag[19] & 15) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}

// Waits for what the server has yet to answer.
async function appears(thing) {
  return thing.waitFor({ timeout: 10_000 }).then(() => true, () => false);
}

async function signIn(page, email) {
  await page.goto(url + '/login');
  await page.getByLabel(/e-?mail/i).fill(email);
  await page.getByLabel(/password/i).fill('granary-demo');
  await page.keyboard.press('Enter');
  await page.waitForURL((address) => address.pathname !== '/login');
}

// Somebody adds an authenticator and signs in with it; without a picture, by the secret that is shown for typing.
async function secondFactor(context) {
  const page = await context.newPage();
  await signIn(page, 'analyst@northwind.example');
  await page.goto(url + '/account');
  await page.getByRole('button', { name: 'Add an authenticator' }).click();
  check('the secret is drawn for a camera', await appears(page.getByRole('img', { name: 'The secret as a QR code' })));
  await accessible(page, 'the page that adds an authenticator');
  const secret = await page.locator('code.address').innerText();
  await page.getByLabel('The code that it shows now').fill(authenticator(secret));
  await page.getByRole('button', { name: 'Turn it on' }).click();
  await appears(page.locator('main li code').first());
  check('recovery codes are shown once', (await page.locator('main li code').count()) === 10);
  await accessible(page, 'the recovery codes');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await signIn(page, 'analyst@northwind.example');
  check('the password leads to the question for a code', new URL(page.url()).pathname === '/login/code', page.url());
  await accessible(page, 'the question for a code');
  await page.goto(url + '/customers');
  check('and to nothing else', new URL(page.url()).pathname === '/login', page.url());
  await signIn(page, 'analyst@northwind.example');
  await page.getByLabel('Code').fill('000000');
  await page.keyboard.press('Enter');
  check('a wrong code is refused in words', await appears(page.getByRole('alert')));
  // The code that turned it on is used up; the next one counts already.
  await page.getByLabel('Code').fill(authenticator(secret, 1));
  await page.keyboard.press('Enter');
  await page.waitForURL(url + '/');
  check('the right code opens the house', (await page.locator('main h1').count()) === 1);
  await page.goto(url + '/account');
  await page.getByLabel('Your password').fill('granary-demo');
  await page.getByRole('button', { name: 'Turn it off' }).click();
  check('the password turns it off', await appears(page.getByText('The second factor is off.')));
}

// What the operator looks at every morning, on a desk and on a phone in the dark.
async function operations(context) {
  const page = await context.newPage();
  await signIn(page, 'operator@granary.example');
  await page.getByRole('link', { name: 'Operations' }).click();
  const text = await page.locator('main').innerText();
  for (const words of ['What needs you', 'Dead jobs', 'Nights', 'NORTHWIND', 'outbox of local', 'Customers in trouble']) {
    check(`the operations page shows ${words}`, text.includes(words), text.slice(0, 600));
  }
  await accessible(page, 'the operations page');
  await page.screenshot({ path: join(shots, 'operations.png'), fullPage: true });
  const phone = await browser.newContext({ viewport: { width: 360, height: 740 }, colorScheme: 'dark', storageState: await context.storageState() });
  const small = await phone.newPage();
  await small.goto(url + '/operations');
  const [width, visible] = await small.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  check('the operations page fits a phone', width <= visible, `${width} > ${visible}`);
  await accessible(small, 'the operations page on a phone in the dark');
  await small.screenshot({ path: join(shots, 'operations-phone.png') });
}

try {
  const foreign = [];
  const faults = [];
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, reducedMotion: 'reduce' });
  const page = await context.newPage();
  page.on('request', (request) => { if (!request.url().startsWith(url) && !request.url().startsWith('data:')) foreign.push(request.url()); });
  page.on('pageerror', (error) => faults.push(String(error)));
  page.on('console', (message) => { if (message.type() === 'error') faults.push(message.text()); });

  await page.goto(url + '/');
  check('a stranger is led to the login', new URL(page.url()).pathname === '/login', page.url());
  await accessible(page, 'the login page');
  await page.screenshot({ path: join(shots, 'login.png') });

  await page.goto(url + '/docs/api');
  check('the API is described to everybody', (await page.locator('article.operation').count()) > 20);
  await accessible(page, 'the description of the API');
  await page.keyboard.press('Tab');
  check('its first stop leads to the content', (await page.evaluate(() => document.activeElement.className)) === 'skip');
  const entry = page.locator('.docs-nav a', { hasText: 'Make a customer' });
  await entry.focus();
  await page.keyboard.press('Enter');
  await page.waitForURL('**/docs/api#createCustomer', { timeout: 10_000 }).catch(() => {});
  check('its contents lead to an operation', new URL(page.url()).hash === '#createCustomer' && (await page.locator('#createCustomer').isVisible()));
  await page.screenshot({ path: join(shots, 'api.png') });
  await page.goto(url + '/login');

  await page.getByLabel(/e-?mail/i).fill('admin@northwind.example');
  await page.getByLabel(/password/i).fill('wrong');
  await page.keyboard.press('Enter');
  await page.locator('[role=alert]').waitFor({ timeout: 10_000 }).catch(() => {});
  check('a wrong password is refused in words', (await page.locator('[role=alert]').count()) === 1);
  faults.length = 0;
  await page.getByLabel(/e-?mail/i).fill('admin@northwind.example');
  await page.getByLabel(/password/i).fill('granary-demo');
  await page.keyboard.press('Enter');
  await page.waitForURL(url + '/');

  const text = await page.locator('main').innerText();
  for (const words of ['Active customers', 'MRR', 'Run rate', 'Churn']) {
    check(`the overview shows ${words}`, new RegExp(words, 'i').test(text), text.slice(0, 400));
  }
  check('the overview draws charts', (await page.locator('main svg').count()) >= 2);
  await page.screenshot({ path: join(shots, 'overview.png'), fullPage: true });
  await accessible(page, 'the overview');

  const first = page.locator('main a[href*="/customers/"]').first();
  const code = new URL(await first.getAttribute('href'), url).pathname.split('/').pop();
  await first.click();
  await page.waitForURL('**/customers/**');
  check('a customer page opens', (await page.locator('h1').innerText()).length > 0);
  await page.screenshot({ path: join(shots, 'customer.png'), fullPage: true });
  await accessible(page, 'the customer page');

  const pdf = await page.locator('a[href$=".pdf"]').first().getAttribute('href');
  const report = await context.request.get(new URL(pdf, url).href);
  check('the monthly report is a PDF', report.ok() && (await report.body()).subarray(0, 5).toString() === '%PDF-', `${report.status()}`);

  await page.goto(url + '/');
  const explore = await page.locator('main a[href*="/explore"]').first().getAttribute('href');
  await page.goto(new URL(explore, url).href);
  check('a number opens the rows behind it', (await page.locator('main table tbody tr').count()) > 0);
  await accessible(page, 'the rows behind a number');

  const phone = await browser.newContext({ viewport: { width: 360, height: 740 }, reducedMotion: 'reduce', colorScheme: 'dark', storageState: await context.storageState() });
  const small = await phone.newPage();
  for (const path of ['/docs/api', '/', `/customers/${code}`]) {
    await small.goto(url + path);
    const [width, visible] = await small.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
    check(`${path} fits a phone`, width <= visible, `${width} > ${visible}`);
    await accessible(small, `${path} on a phone in the dark`);
  }
  await small.screenshot({ path: join(shots, 'phone-dark.png') });

  await secondFactor(await browser.newContext({ viewport: { width: 1280, height: 900 }, reducedMotion: 'reduce' }));
  await operations(await browser.newContext({ viewport: { width: 1280, height: 900 }, reducedMotion: 'reduce' }));

  const stranger = await browser.newContext();
  const refused = await stranger.request.get(`${url}/customers/${code}`, { maxRedirects: 0 });
  check('without a session no customer is shown', refused.status() === 303 || refused.status() === 401, `${refused.status()}`);
  const missing = await context.request.get(`${url}/customers/NOSUCH`);
  check('an unknown customer is not found', missing.status() === 404, `${missing.status()}`);
  check('nothing was loaded from elsewhere', foreign.length === 0, foreign.join(', '));
  check('no script failed', faults.length === 0, faults.join('\n'));
} finally {
  await browser.close();
}
console.log(`${passed} passed, 0 failed`);
