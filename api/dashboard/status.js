// The status page: what runs, what waits, and in plain words what to do.
import { $, h, icon, glyph, num, rate, bytes, plural, stamp, shown } from './dom.js';
import { ask, aborted } from './api.js';
import { advice } from './advice.js';

// A worker that has asked for nothing for so long is gone.
const main = $('#p-status'), LETTERS = 20, GONE_SECONDS = 60;
const size = n => bytes(n).join(' '), seconds = n => (n == null ? '' : `${rate(n)} s`);
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
const ms = s => (s == null ? '' : s < 1 ? `≤ ${rate(s * 1e3)} ms` : `≤ ${rate(s)} s`);
const WORDS = { shards: 'Shards', queue: 'Queue', store: 'Store', workers: 'Workers', redis: 'Redis', postgres: 'Postgres', dead_letters: 'Dead letters', sidecar: 'Sidecar' };
// The server's words with their numbers as people read them; addresses and versions stay.
const words = detail => shown(detail.replace(/(?<![\w:./-])(\d+) of (\d+) bytes\b/g, (_, n, of) => `${size(+n)} of ${size(+of)}`).replace(/(?<![\w:./-])\d{4,}(?![\w:./-])/g, n => num(+n)));
const named = name => WORDS[name] ?? name;
const stateOf = status => (status === 'ok' ? h('span', { class: 'ok nw' }, icon('i-check'), 'well') : h('span', { class: 'nw' }, glyph(status === 'down' ? 'ERROR' : 'WARN'), ' ' + (status === 'down' ? 'down' : 'needs you')));

export async function readAll(signal) {
  const quiet = asked => asked.catch(error => { if (aborted(error)) throw error; return null; });
  const [health, queue, stats, letters, text] = await Promise.all([ask('/health', null, signal), quiet(ask('/queue/status', null, signal)), quiet(ask('/stats', null, signal)), quiet(ask('/dead-letters', new URLSearchParams({ limit: LETTERS }), signal)), fetch('/metrics', { signal }).then(r => (r.ok ? r.text() : '')).catch(() => '')]);
  return { health, queue, stats, letters, all: metrics(text) };
}
export function needs(health) { return health ? Object.entries(health.parts || {}).filter(([, part]) => part.status !== 'ok') : []; }

const need = (level, what, words, ...mend) => h('div', { class: 'need' }, h('p', {}, glyph(level), h('b', {}, what), ' ', words), h('p', {}, mend));
// One queue's table: the local log by shard, Redis by stream, and what Redis did not take.
function queueTables(queue, label = 'Queue') {
  if (!queue) return h('p', { class: 'lead' }, 'It does not answer.');
  if (queue.kind !== 'redis') return table(label, ['Shard', '#Batches', '#Bytes', '#Oldest'], queue.streams.map(q => [q.name ?? '', num(q.batches ?? 0), q.bytes == null ? '' : size(q.bytes), q.batches ? seconds(q.oldest_seconds ?? 0) : '']));
  const streams = queue.streams.map(q => [h('span', { class: 'mono' }, shown(String(q.name ?? ''))), num(q.length ?? 0), num(q.pending ?? 0), q.length ? seconds(q.oldest_seconds) : '', num((q.consumers ?? []).filter(c => c.idle_seconds < GONE_SECONDS).length)]), { used_memory_bytes: used, maxmemory_bytes: most, set_aside: aside } = queue;
  return [streams.length ? table('Queue', ['Stream', '#Batches', '#With a worker', '#Oldest', '#Workers'], streams) : h('p', { class: 'lead' }, 'Redis does not say what it holds.'),
    used ? h('p', { class: 'lead' }, `Redis uses ${size(used)}${most ? ` of ${size(most)}` : ', and knows no limit'}.`) : '', aside ? need('WARN', `${plural(aside, 'entry was', 'entries were')} set aside in Redis.`, 'They are no batches that this version can read.', 'They stay in the stream ', h('span', { class: 'mono' }, 'logboom:set-aside'), ': a newer Logboom may read them.') : '',
    queue.overflow ? [h('h2', {}, 'In the local log, for Redis'), queueTables({ kind: 'local', ...queue.overflow }, 'In the local log, for Redis')] : ''];
}
function waits(queue) {
  if (!queue) return '';
  const left = queue.overflow?.depth ?? 0, depth = queue.depth;
  if (depth == null) return ` Redis does not say what waits in it; ${left ? plural(left, 'batch waits', 'batches wait') : 'nothing waits'} in the local log.`;
  return depth + left ? ` ${plural(depth + left, 'batch waits', 'batches wait')} for the store, the oldest for ${seconds(Math.max(queue.oldest_seconds ?? 0, queue.overflow?.oldest_seconds ?? 0))}.` : ' Nothing waits for the store.';
}
// A record that the store refused, and why.
function letterTable(letters) {
  return table('Dead letters', ['Refused at', 'Why', 'Level', 'Source', '~Message'], letters.dead_letters.map(({ failed_at, reason, log }) => [h('span', { class: 'mono' }, stamp(Date.parse(failed_at))), h('span', {}, shown(reason.slice(0, 500))),
    log ? h('span', { class: 'lvl ' + log.level }, glyph(log.level), ' ' + log.level) : '', log ? h('span', { class: 'mono' }, shown(log.source)) : '', h('span', { class: 'mono' }, log ? shown(log.message.slice(0, 200)) : 'It cannot be read any more.')]));
}
// What is in use, as the parts tell it.
function versions(health, queue) {
  const { parts } = health, kind = text => (text?.match(/^[^:;]+/)?.[0] ?? '').trim();
  const queueKind = queue?.kind === 'redis' ? ['Redis', parts.redis?.detail] : ['the local log', ''], store = parts.postgres ? ['Postgres', parts.postgres.detail] : [parts.store ? kind(parts.store.detail) === 'parquet' ? 'Parquet files' : kind(parts.store.detail) : 'none', ''];
  const first = detail => (detail ? h('span', { class: 'sub' }, ' ', shown(detail.split(';')[0])) : '');
  return table('Versions', ['What', 'Is'], [['Logboom', health.version ?? ''], ['Queue', [queueKind[0], first(queueKind[1])]], ['Store', [store[0], first(store[1])]]]);
}

export async function paint() {
  let read;
  try { read = await readAll(); }
  catch (error) {
    if (aborted(error)) return;
    main.replaceChildren(h('h1', {}, 'No answer'), h('p', { class: 'lead' }, `${error.message}. This page tries again by itself; on the machine, `, h('span', { class: 'mono' }, 'logboom doctor'), ' says what is wrong.'));
    return;
  }
  const { health, queue, stats, letters, all } = read, wrong = needs(health), get = name => pickMetric(all, name), dead = letters?.total ?? 0, count = wrong.length + (dead ? 1 : 0);
  const title = health.status === 'down' ? 'Not taking logs.' : 'Taking logs.';
  const doors = ['direct', 'fast', 'batch', 'parse'].map(door => [door, all.filter(m => m[0] === 'logboom_records_total' && m[1].door === door).reduce((n, m) => n + m[2], 0)]);
  const rejects = all.filter(m => m[0] === 'logboom_rejects_total' || m[0] === 'logboom_failures_total').filter(m => m[2]);
  const hasFiles = Boolean(health.parts.store);
  main.replaceChildren(...[h('h1', {}, `${title} ${count ? `${count === 1 ? 'One thing needs' : count + ' things need'} you.` : 'Nothing needs you.'}`),
    h('p', { class: 'lead' }, stats ? `${rate(stats.per_second)} records a second come in, ${num(stats.total)} are stored${quantile(all, 'logboom_ack_seconds', .99) != null ? `, and 99 of 100 answers took ${ms(quantile(all, 'logboom_ack_seconds', .99))}` : ''}.` : 'The sidecar does not say what is stored.', waits(queue)),
    wrong.map(([name, part]) => need(part.status === 'down' ? 'ERROR' : 'WARN', named(name) + ':', words(part.detail), advice(name, part))),
    dead ? need('WARN', `${plural(dead, 'record is', 'records are')} in the dead letters.`, 'The store refused them for good; no query finds them.', 'Below is why. Once what was in the way is mended, ', h('span', { class: 'mono' }, 'logboom dead-letters replay --all'), ' stores them after all; ', h('a', { class: 'link', href: '/dead-letters' }, '/dead-letters'), ' has them whole.') : '',
    h('h2', {}, 'On the way from socket to search'),
    table('Parts', ['Part', 'State', 'In words'], Object.entries(health.parts).map(([name, part]) => [named(name), stateOf(part.status), words(part.detail)])),
    dead ? [h('h2', {}, 'Dead letters'), letterTable(letters), dead > letters.dead_letters.length ? h('p', { class: 'lead' }, `The newest ${num(letters.dead_letters.length)} of ${num(dead)}.`) : ''] : '',
    h('div', { class: 'two' },
      h('div', {}, h('h2', {}, 'Doors'), table('Doors', ['Door', '#Records'], doors.map(([door, n]) => [{ direct: '/data/', fast: '/data/fast', batch: '/data/batch', parse: '/parse/auto' }[door], num(n)])), rejects.length ? [h('h2', {}, 'Refused'), table('Refused', ['Why', '#Times'], rejects.map(m => [m[1].code, num(m[2])]))] : ''),
      h('div', {}, h('h2', {}, queue?.kind === 'redis' ? 'Queue, in Redis' : 'Queue, the local log'), queueTables(queue))),
    h('div', { class: 'two' },
      h('div', {}, h('h2', {}, 'Store'), table('Store', ['What', '#Now'], hasFiles ? [['Records in files', num(get('logboom_store_rows'))], ['Files', num(get('logboom_store_files'))], ['Bytes in files', size(get('logboom_store_bytes'))], ['Records in memory', num(get('logboom_memory_rows'))], ['Failed writes', num(get('logboom_flush_failures'))], ['Dead letters', num(dead)]]
        : [['Records', stats ? num(stats.total) : ''], ['Stored by this process', num(get('logboom_postgres_rows'))], ['Failed transactions', num(get('logboom_postgres_failures'))], ['Dead letters', num(dead)]])),
      h('div', {}, h('h2', {}, 'Who is here'), table('Who is here', ['What', '#Now'], [['Connections', num(get('logboom_connections'))], ['Live tails', num(get('logboom_viewers'))], ['Bytes taken in', size(get('logboom_ingest_bytes'))], ['Sync to disk, 99 %', ms(quantile(all, 'logboom_fsync_seconds', .99))], ['Faults in connections', num(get('logboom_connection_panics'))]]))),
    h('h2', {}, 'Versions'), versions(health, queue),
    h('p', { class: 'lead' }, 'The same for machines: ', ['/health', '/queue/status', '/metrics', '/dead-letters', '/api/docs'].flatMap((path, i) => [i ? ' · ' : '', h('a', { class: 'link', href: path }, path)]))].flat(2));
}
