// The live tail: one WebSocket with the page's query. It pauses when someone reads, says what it skipped, comes back by
// itself, and fills the gap that it was away for.
import { $, setIcon, rate, num, plural, clock, say } from './dom.js';
import { ask } from './api.js';
import { state, set, params, iso, isOpenEnded } from './state.js';
import * as list from './list.js';

// Nobody reads faster than ten changes a second, and each one paints the rows in view anew. Where that takes long, as on a
// phone or a machine that does other things too, it takes a seventh of the time and leaves the rest to who looks.
const PAINT_MS = 100, PAINT_REST = 6, WAITING_MAX = 5000, GAP_MS = 10000, RETRY_MS = [500, 1000, 2000, 5000];
const button = $('#live'), waitingBar = $('#waiting');
let socket = null, tries = 0, retry = 0, lastFrame = 0, opened = false;
let flushed = 0, waiting = [], over = 0, errors = 0, pending = [], planned = false, seen = 0, timer = 0;
export const live = { mode: 'off', perSecond: 0, onChange: null, onRows: null };
const isError = row => row.level === 'ERROR' || row.level === 'FATAL';

export function start() {
  live.mode = 'on';
  tries = 0;
  connect();
  timer ||= setInterval(tick, 1000);
  paint();
}
export function stop() {
  live.mode = 'off';
  clearTimeout(retry);
  clearInterval(timer);
  timer = 0;
  drop();
  forget();
  paint();
}
export function pause() { if (live.mode === 'on') { live.mode = 'paused'; paint(); } }
export function resume() {
  if (live.mode !== 'paused') return;
  live.mode = 'on';
  const missed = over;
  list.push(missed ? [{ skipped: missed, t: waiting[0]?.t ?? Date.now(), text: `${plural(missed, 'record')} more came while this was paused. They are stored.` }, ...waiting] : waiting);
  forget();
  list.toTop();
  live.onRows?.();
  paint();
}
// The query has changed: a new socket with it.
export function restart() { if (live.mode !== 'off') { live.mode = 'on'; forget(); connect(); paint(); } }
export const isOn = () => live.mode !== 'off';

function forget() { waiting = []; over = errors = 0; pending = []; }
function drop() { if (socket) { const old = socket; socket = null; old.onmessage = old.onclose = null; old.close(); } }
function connect() {
  drop();
  clearTimeout(retry);
  const query = state.q ? '?' + new URLSearchParams({ q: state.q }) : '';
  const mine = socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws/logs${query}`);
  opened = false;
  mine.onopen = () => { opened = true; tries = 0; if (lastFrame) fill(lastFrame - GAP_MS); lastFrame = Date.now(); paint(); };
  mine.onmessage = event => { lastFrame = Date.now(); take(JSON.parse(event.data)); };
  mine.onclose = () => {
    if (socket !== mine) return;
    opened = false;
    paint();
    retry = setTimeout(connect, RETRY_MS[Math.min(tries++, RETRY_MS.length - 1)]);
  };
}
// What came while nobody was connected: by time, from some seconds before the last frame, without doubles.
async function fill(from) {
  const mine = socket;
  try {
    const found = await ask('/logs/', new URLSearchParams({ ...(state.q && { q: state.q }), from: iso(from), limit: 10000 }));
    if (mine !== socket) return; // of another query
    const fresh = found.logs.filter(record => !list.has(record.id)).reverse();
    if (live.mode === 'paused') { for (const record of fresh) record.t = Date.parse(record.timestamp); take({ type: 'logs', logs: fresh }); }
    else if (list.insert(fresh)) live.onRows?.();
  } catch { /* the next connection tries again */ }
}
function take(message) {
  if (message.type === 'skipped') {
    const from = pending[pending.length - 1]?.timestamp ?? list.rows[list.rows.length - 1]?.timestamp, t = Date.now();
    const row = { skipped: message.count, t, text: `${message.exact === false ? 'Up to ' : ''}${plural(message.count, 'record')} skipped until ${clock(t, 's')}: they came faster than this page could take them. They are stored.`, load: from ? loadSkipped(Date.parse(from), t) : null };
    message = { logs: [row] };
  } else {
    seen += message.logs.length;
    for (const row of message.logs) row.arrived = performance.now();
  }
  if (live.mode === 'paused') {
    for (const row of message.logs) {
      if (row.timestamp) row.t ??= Date.parse(row.timestamp);
      if (isError(row)) errors++;
      if (waiting.length < WAITING_MAX) waiting.push(row); else over += row.skipped || 1;
    }
  } else pending.push(...message.logs);
  if (!planned) { planned = true; setTimeout(flush, Math.max(0, flushed + Math.max(PAINT_MS, list.view.took * PAINT_REST) - performance.now())); }
}
function loadSkipped(from, to) {
  return async row => {
    let found;
    try { found = await ask('/logs/', new URLSearchParams({ ...(state.q && { q: state.q }), from: iso(from), to: iso(to), limit: 10000 })); } catch (error) { return say(error.message); }
    if (!list.remove(row)) return; // the list is another one by now
    const oldest = found.next_cursor ? Date.parse(found.logs[found.logs.length - 1].timestamp) : null;
    // Further ones can be loaded after these; what shares the millisecond comes again, and is known by its id.
    const rest = oldest != null ? [{ skipped: Math.max(1, row.skipped - found.logs.length), t: oldest, text: `More records skipped until ${clock(oldest, 's')}. They are stored.`, load: loadSkipped(from, oldest + 1) }] : [];
    list.insert([...found.logs, ...rest]);
  };
}
function flush() {
  planned = false;
  flushed = performance.now();
  if (live.mode === 'paused') { paintWaiting(); return; }
  if (pending.length) { const rows = pending; pending = []; list.push(rows); live.onRows?.(rows.length); }
}
function tick() {
  live.perSecond = live.perSecond * 0.6 + seen * 0.4;
  if (live.perSecond < 0.05) live.perSecond = 0;
  seen = 0;
  paint();
}
function paintWaiting() {
  const count = waiting.length + over;
  waitingBar.hidden = live.mode !== 'paused';
  $('span', waitingBar).replaceChildren(Object.assign(document.createElement('b'), { textContent: `${num(count)} new` }), count ? ` above${errors ? `, ${num(errors)} of them errors` : ''}` : ', the list stands still while you read');
}
export function paint() {
  button.dataset.s = live.mode;
  button.setAttribute('aria-pressed', String(live.mode !== 'off'));
  setIcon(button, live.mode === 'paused' ? 'i-pause' : 'i-live');
  $('.word', button).textContent = { on: opened ? 'Live' : 'Joining', paused: 'Paused', off: 'Live' }[live.mode];
  $('.rate', button).textContent = live.mode === 'off' ? 'off' : `${rate(live.perSecond)}/s`;
  paintWaiting();
  live.onChange?.();
}
// on → off, off → on, paused → on.
export function cycle() {
  if (live.mode === 'paused') resume();
  else if (live.mode === 'on') set({ live: '' });
  else set({ live: '1', ...(isOpenEnded() ? {} : { from: '-15m', to: '' }) });
}
