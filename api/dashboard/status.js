// The status page: what runs, what waits, and in plain words what to do.
import { $, h, icon, glyph, num, rate, bytes, plural, span } from './dom.js';
import { ask, aborted } from './api.js';

const main = $('#p-status');
const size = n => bytes(n).join(' ');
export function table(label, heads, rows) {
  const bare = heads.map(t => t.replace(/^[#~]/, '')), cls = t => (t.startsWith('#') ? 'num' : t.startsWith('~') ? 'hide' : null);
  return h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': label }, h('table', {}, h('thead', {}, h('tr', {}, heads.map((t, i) => h('th', { scope: 'col', class: cls(t) }, bare[i])))), h('tbody', {}, rows.map(r => h('tr', {}, r.map((c, i) => h('td', { class: cls(heads[i]) }, c)))))));
}
// Prometheus' text: [name, labels, value].
export function metrics(text) {
  const out = [];
  for (const line of text.split('\n')) {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/.exec(line);
    if (!match || line[0] === '#') continue;
    const labels = Object.fromEntries([...(match[2] || '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(m => [m[1], m[2]]));
    out.push([match[1], labels, Number(match[3])]);
  }
  return out;
}
export const pickMetric = (all, name) => all.filter(m => m[0] === name || m[0] === name + '_total').reduce((sum, m) => sum + m[2], 0);
function quantile(all, name, q) {
  const buckets = all.filter(m => m[0] === name + '_bucket').map(m => [m[1].le === '+Inf' ? Infinity : +m[1].le, m[2]]).sort((a, b) => a[0] - b[0]), count = buckets[buckets.length - 1]?.[1];
  if (!count) return null;
  const at = buckets.find(b => b[1] >= count * q);
  return at && at[0] < Infinity ? at[0] : null;
}
const ms = seconds => (seconds == null ? '' : seconds < 1 ? `≤ ${rate(seconds * 1e3)} ms` : `≤ ${rate(seconds)} s`);
const WORDS = { shards: 'Shards', queue: 'Queue', store: 'Store', workers: 'Workers', redis: 'Redis', postgres: 'Postgres', dead_letters: 'Dead letters', sidecar: 'Sidecar' };
const stateOf = status => (status === 'ok' ? h('span', { class: 'ok' }, icon('i-check'), 'well') : h('span', {}, glyph(status === 'down' ? 'ERROR' : 'WARN'), ' ' + (status === 'down' ? 'down' : 'needs you')));

export async function readAll(signal) {
  const [health, queue, stats, text] = await Promise.all([ask('/health', null, signal), ask('/queue/status', null, signal).catch(() => null), ask('/stats', null, signal).catch(() => null), fetch('/metrics', { signal }).then(r => (r.ok ? r.text() : '')).catch(() => '')]);
  return { health, queue, stats, all: metrics(text) };
}
export function needs(health) { return health ? Object.entries(health.parts || {}).filter(([, part]) => part.status !== 'ok') : []; }

export async function paint() {
  let read;
  try { read = await readAll(); }
  catch (error) {
    if (aborted(error)) return;
    main.replaceChildren(h('h1', {}, 'No answer'), h('p', { class: 'lead' }, `${error.message}. This page tries again by itself; on the machine, `, h('span', { class: 'mono' }, 'logboom doctor'), ' says what is wrong.'));
    return;
  }
  const { health, queue, stats, all } = read, wrong = needs(health), get = name => pickMetric(all, name);
  const title = health.status === 'down' ? 'Not taking logs.' : 'Taking logs.';
  const doors = ['direct', 'fast', 'batch', 'parse'].map(door => [door, all.filter(m => m[0] === 'logboom_records_total' && m[1].door === door).reduce((n, m) => n + m[2], 0)]);
  const rejects = all.filter(m => m[0] === 'logboom_rejects_total' || m[0] === 'logboom_failures_total').filter(m => m[2]);
  main.replaceChildren(h('h1', {}, `${title} ${wrong.length ? `${wrong.length === 1 ? 'One thing needs' : wrong.length + ' things need'} you.` : 'Nothing needs you.'}`),
    h('p', { class: 'lead' }, stats ? `${rate(stats.per_second)} records a second come in, ${num(stats.total)} are stored${quantile(all, 'logboom_ack_seconds', .99) != null ? `, and 99 of 100 answers took ${ms(quantile(all, 'logboom_ack_seconds', .99))}` : ''}. ` : '', queue ? (queue.depth ? `${plural(queue.depth, 'batch', 'batches')} wait for the store, the oldest for ${rate(queue.oldest_seconds)} s.` : 'Nothing waits for the store.') : ''),
    wrong.map(([name, part]) => h('div', { class: 'need' }, h('p', {}, glyph(part.status === 'down' ? 'ERROR' : 'WARN'), h('b', {}, WORDS[name] ?? name), ': ', part.detail))),
    h('h2', {}, 'On the way from socket to search'),
    table('Parts', ['Part', 'State', 'In words'], Object.entries(health.parts).map(([name, part]) => [WORDS[name] ?? name, stateOf(part.status), part.detail])),
    h('div', { class: 'two' },
      h('div', {}, h('h2', {}, 'Doors'), table('Doors', ['Door', '#Records'], doors.map(([door, n]) => [{ direct: '/data/', fast: '/data/fast', batch: '/data/batch', parse: '/parse/auto' }[door], num(n)])), rejects.length ? [h('h2', {}, 'Refused'), table('Refused', ['Why', '#Times'], rejects.map(m => [m[1].code, num(m[2])]))] : ''),
      h('div', {}, h('h2', {}, 'Queue'), queue ? table('Queue', [queue.kind === 'redis' ? 'Stream' : 'Shard', '#Batches', '#Bytes', '#Oldest'], queue.streams.map(q => [q.name ?? '', num(q.batches ?? q.depth ?? 0), q.bytes == null ? '' : size(q.bytes), q.batches ? `${rate(q.oldest_seconds ?? 0)} s` : ''])) : h('p', {}, 'It does not answer.'))),
    h('div', { class: 'two' },
      h('div', {}, h('h2', {}, 'Store'), table('Store', ['What', '#Now'], [['Records in files', num(get('logboom_store_rows'))], ['Files', num(get('logboom_store_files'))], ['Bytes in files', size(get('logboom_store_bytes'))], ['Records in memory', num(get('logboom_memory_rows'))], ['Failed writes', num(get('logboom_flush_failures'))]])),
      h('div', {}, h('h2', {}, 'Who is here'), table('Who is here', ['What', '#Now'], [['Connections', num(get('logboom_connections'))], ['Live tails', num(get('logboom_viewers'))], ['Bytes taken in', size(get('logboom_ingest_bytes'))], ['Sync to disk, 99 %', ms(quantile(all, 'logboom_fsync_seconds', .99))], ['Faults in connections', num(get('logboom_connection_panics'))]]))),
    h('p', { class: 'lead' }, 'The same for machines: ', ['/health', '/queue/status', '/metrics', '/api/docs'].flatMap((path, i) => [i ? ' · ' : '', h('a', { class: 'link', href: path }, path)])));
}
