// Keeps the page up to date, and adds keys. Every page works without it.
import { Idiomorph } from './idiomorph.js';

const body = document.body;
const base = body.dataset.base;
const live = document.getElementById('live');
const seconds = Number(body.dataset.refresh);
const stale = document.getElementById('stale'), asOf = Object.assign(document.createElement('time'), { ariaLive: 'off' });
const upToDate = () => { asOf.dateTime = new Date().toISOString(); stale.hidden = true; };
let paused = false, fetching = false, failures = 0, stream = null, timer = null;

// ---- refreshing: the page fetches itself, and what is marked data-live takes the new shape
const panels = () => [...document.querySelectorAll('[data-live][id]')];
const say = (state, text) => { if (live) { live.dataset.state = state; live.textContent = text; } };
const busy = () => paused || document.hidden || document.querySelector('dialog[open]')
  || String(getSelection()) !== '' || document.activeElement?.matches('main input:not([name=id], [data-all]), main select, main textarea');
// The banner in view: said once for each reason, while its age counts on unsaid.
function outdated(why) {
  say('off', 'not up to date');
  if (!stale.hidden && stale.dataset.why === why) return;
  stale.hidden = false; stale.dataset.why = why;
  stale.replaceChildren('Not up to date: shown as of ', asOf, `. ${why}.`); ages();
}
// What somebody opened, ticked or stands on stays so.
const keep = (name, node) => (name === 'open' && node.tagName === 'DETAILS') || name === 'checked' || (name === 'class' && node.tagName === 'TR');

async function refresh() {
  if (fetching || !panels().length) return;
  if (busy()) return say('paused', paused ? 'refreshing is paused (t)' : 'not refreshing while you work here');
  fetching = true;
  try {
    // A list asks for the rows that it shows, so that none moves.
    const from = document.querySelector('[data-from]')?.dataset.from ?? location.href;
    const answer = await fetch(from, { headers: { accept: 'text/html', 'x-live': '1' }, redirect: 'error', signal: AbortSignal.timeout(2e4) });
    const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
    if (!answer.ok) throw new Error(fresh.querySelector('#main h1')?.textContent ?? '');
    if (busy()) return;
    for (const panel of panels()) {
      const next = fresh.getElementById(panel.id);
      if (panel.tagName === 'TR') panel.classList.toggle('gone', !next);
      if (next) Idiomorph.morph(panel, next, { restoreFocus: true, ignoreActiveValue: true, callbacks: {
        beforeAttributeUpdated: (name, node) => !keep(name, node) } });
    }
    failures = 0; say('on', 'live'); upToDate();
  } catch (error) {
    // Errors of the network are no such sentences.
    failures += 1; outdated((error.constructor === Error && error.message) || 'The dashboard does not answer');
  } finally { fetching = false; }
}
function poll() { clearTimeout(timer); timer = setTimeout(async () => { await refresh(); poll(); }, seconds * 1000 * Math.min(8, 2 ** failures)); }
function listen() {
  if (!seconds || !panels().length) return;
  say('on', 'live');
  let refused = 0;
  stream = new EventSource(`${base}/events`);
  stream.addEventListener('tick', () => { refused = 0; refresh(); });
  stream.addEventListener('error', () => { refused += 1; if (refused >= 2) { stream.close(); stream = null; poll(); } });
}
document.addEventListener('visibilitychange', () => {
  if (document.hidden) { stream?.close(); stream = null; clearTimeout(timer); } else { refresh(); if (!stream) listen(); }
});
addEventListener('pagehide', () => stream?.close());

// ---- relative times
function ages() {
  for (const time of document.querySelectorAll('time[data-relative]')) {
    const gone = (Date.now() - Date.parse(time.dateTime)) / 1000, size = Math.abs(gone);
    const text = size < 60 ? `${Math.floor(size)} s` : size < 3600 ? `${Math.floor(size / 60)} min` : size < 86400 ? `${Math.floor(size / 3600)} h` : `${Math.floor(size / 86400)} d`;
    const next = size < 1 ? 'now' : gone > 0 ? `${text} ago` : `in ${text}`;
    if (time.textContent !== next) time.textContent = next;
  }
}
setInterval(ages, 1000);

// ---- selection
function count() {
  const all = [...document.querySelectorAll('input[name=id]')], on = all.filter((box) => box.checked).length;
  for (const bar of document.querySelectorAll('[data-selection]')) bar.hidden = on === 0;
  for (const text of document.querySelectorAll('[data-selected]')) text.textContent = String(on);
  const top = document.querySelector('input[data-all]');
  if (top) { top.checked = on > 0 && on === all.length; top.indeterminate = on > 0 && on < all.length; }
}
document.addEventListener('change', (event) => {
  if (event.target.matches('input[data-all]')) for (const box of document.querySelectorAll('input[name=id]')) box.checked = event.target.checked;
  if (event.target.matches('input[name=id], input[data-all]')) count();
  if (event.target.matches('select[data-submit]')) event.target.form.requestSubmit();
});
let lastBox = null;
document.addEventListener('click', (event) => {
  const box = event.target.closest('input[name=id]');
  if (box) {
    const all = [...document.querySelectorAll('input[name=id]')];
    if (event.shiftKey && lastBox) { const [from, to] = [all.indexOf(lastBox), all.indexOf(box)].sort((a, b) => a - b); all.slice(from, to + 1).forEach((one) => { one.checked = box.checked; }); count(); }
    lastBox = box;
  }
  const copy = event.target.closest('[data-copy]');
  if (copy) navigator.clipboard?.writeText(document.getElementById(copy.dataset.copy)?.textContent ?? '').then(() => { copy.textContent = 'Copied'; });
});

// ---- keys
const rows = () => [...document.querySelectorAll('tbody tr[id]')];
function step(by) {
  const all = rows(), at = all.findIndex((row) => row.classList.contains('current'));
  const next = all[Math.max(0, Math.min(all.length - 1, at + by))];
  if (!next) return;
  all[at]?.classList.remove('current'); next.classList.add('current');
  next.querySelector('a')?.focus(); next.scrollIntoView({ block: 'nearest' });
}
const search = () => { const field = document.querySelector('input[type=search]'); if (field) { field.focus(); field.select(); } else location.href = `${base}/jobs#q`; };
if (location.hash === '#q') search();
let before = '';
document.addEventListener('keydown', (event) => {
  if (body.dataset.keys !== 'true' || event.altKey) return;
  if (event.ctrlKey || event.metaKey) { if (event.key === 'k') { event.preventDefault(); search(); } return; }
  if (event.target.matches('input:not([type=checkbox]), select, textarea')) return;
  const key = event.key, link = document.querySelector(`a[data-key=${JSON.stringify(`${before} ${key}`.trim())}]`);
  before = key === 'g' ? 'g' : '';
  if (link) { location.href = link.href; return; }
  const does = {
    '?': () => document.getElementById('keys').showModal(),
    '/': search,
    j: () => step(1), k: () => step(-1),
    x: () => { const box = document.querySelector('tr.current input[name=id]'); if (box) { box.checked = !box.checked; count(); } },
    // Acts on nothing yet: Enter does, once somebody has seen where he is.
    r: () => document.querySelector('[data-requeue]:enabled')?.focus(),
    t: () => { paused = !paused; paused ? say('paused', 'refreshing is paused (t)') : refresh(); },
  }[key];
  if (does) { event.preventDefault(); does(); }
});

asOf.dataset.relative = '';
upToDate();
count();
listen();
