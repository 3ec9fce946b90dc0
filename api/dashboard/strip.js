// At a glance: records and error rate follow the query, the rest is the system's.
import { $, h, s, icon, num, short, rate, bytes, plural } from './dom.js';
import { set, state } from './state.js';
import * as chart from './chart.js';

export const figures = { total: null, stored: null, perSecond: null, sources: null, queue: null, storage: null, ghostRate: null, history: [] };
function spark(values, hotFrom = values.length, usual = 0) {
  if (values.length < 3) return null;
  const W = 64, H = 36, top = Math.max(...values, usual, 1e-9) * 1.08, x = i => i * W / (values.length - 1), y = v => H - 2 - v / top * (H - 4);
  const line = (a, b) => values.slice(a, b).map((v, i) => `${i ? 'L' : 'M'}${x(a + i).toFixed(1)} ${y(v).toFixed(1)}`).join('');
  return s('svg', { class: 'spark', viewBox: `0 0 ${W} ${H}`, 'aria-hidden': true }, usual ? s('path', { class: 'usual', d: `M0 ${y(usual)}H${W}V${H}H0z` }) : null, s('path', { d: line(0, hotFrom + 1) }), hotFrom < values.length - 1 ? s('path', { class: 'hot', d: line(hotFrom) }) : null);
}
// Where there is no span before, half the bars say what is usual.
const median = values => (values.length < 8 ? null : [...values].sort((a, b) => a - b)[values.length >> 1]);
const percent = share => (share === 0 ? '0' : share < .001 ? '<0.1' : share < .1 ? (share * 100).toFixed(1) : (share * 100).toFixed(0));
function cell(name, value, by, extra, run, title) {
  const inner = [h('dt', {}, name), h('dd', { class: 'val' }, value), h('dd', { class: 'by' }, by), extra ? h('dd', { class: 'spark' }, extra) : null];
  const classes = [extra && 'has-spark', run && 'can'].filter(Boolean).join(' ');
  const box = h('div', { class: classes || null, title }, inner);
  if (run) box.addEventListener('click', run);
  return box;
}
// What Redis holds, and what waits in the local log for it.
const waiting = queue => (queue.depth ?? 0) + (queue.overflow?.depth ?? 0);
const oldest = queue => Math.max(queue.oldest_seconds ?? 0, queue.overflow?.oldest_seconds ?? 0);
export function paint() {
  const f = figures, rates = chart.errorRates().slice(-60), last = rates.slice(-3), now = f.total ? f.errors / f.total : null;
  const recent = last.length ? Math.max(...last) : 0, usual = f.ghostRate ?? median(chart.errorRates()), high = now != null && usual != null && now > Math.max(usual * 2, .01);
  const hot = high ? rates.findIndex(r => r > Math.max(usual * 2, .01)) : -1;
  $('#strip').replaceChildren(
    cell('Records', f.total == null ? '–' : num(f.total), f.stored == null ? '' : `of ${short(f.stored)} stored`),
    cell('Per second now', f.perSecond == null ? '–' : rate(f.perSecond), 'arriving', f.history.length > 2 ? spark(f.history) : null),
    cell('Error rate', now == null ? '–' : h('span', { class: high ? 'bad' : null }, percent(now), h('small', {}, ' %'), high && icon('i-up')), usual == null ? '' : `${f.ghostRate == null ? 'usual' : 'before'} ${percent(usual)} %`, f.total ? spark(rates, hot < 0 ? undefined : Math.max(hot - 1, 0), usual ?? 0) : null, () => set({ q: state.q.includes('level:>=error') ? state.q : `${state.q} level:>=error`.trim() }), 'Show only the errors'),
    cell('Sources', f.sources == null ? '–' : num(f.sources) + (f.sourcesMore ? '+' : ''), f.sources === 1 ? 'in this range' : 'in this range'),
    cell('Queue', f.queue ? num(waiting(f.queue)) : '–', f.queue ? (f.queue.depth == null ? 'Redis is away' : waiting(f.queue) ? `oldest ${rate(oldest(f.queue))} s` : 'all stored') : '', null, () => { location.hash = '#status'; }),
    f.storage?.inPostgres ? cell('Storage', 'Postgres', '', null, () => { location.hash = '#status'; })
      : cell('Storage', f.storage == null ? '–' : (([n, unit]) => [String(n), h('small', {}, ' ' + unit)])(bytes(f.storage.bytes)), f.storage == null ? '' : plural(f.storage.files, 'file'), null, () => { location.hash = '#status'; }));
}
