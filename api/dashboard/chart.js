// Records by time and level. Errors stand on the baseline, so that their height can be compared.
import { $, h, s, num, clock, day, plural, glyph, levelName, LEVELS, span, zone, parts, icon } from './dom.js';
import { state, set, bounds, iso } from './state.js';
import { mode, toggle, without, quotedValue } from './query.js';

const plot = $('.plot'), read = $('.read'), legend = $('.legend');
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];
export const data = { start: 0, step: 60, bars: [], ghost: [], levels: {}, showGhost: true };
let brush = null, drag = null, cursorBar = null, zooms = [];

// How long a bar is: as fine as the width allows.
export function stepFor(now = Date.now()) {
  const { from, to } = bounds(state, now);
  if (from == null) return null;
  const seconds = ((to ?? now) - from) / 1e3, bars = Math.max(20, Math.min(120, Math.floor((plot.clientWidth || 900) / 11)));
  return STEPS.find(step => seconds / step <= bars) ?? 86400;
}
const total = bar => (bar ? LEVELS.reduce((sum, level) => sum + (bar[level] || 0), 0) : 0);
const sum = (bars, levels = LEVELS) => bars.reduce((all, bar) => all + levels.reduce((n, level) => n + ((bar && bar[level]) || 0), 0), 0);

export function fill(histogram, now) {
  const step = histogram.interval_seconds * 1e3, { from, to } = bounds(state, now), buckets = histogram.buckets.map(b => [Date.parse(b.from), b.levels]);
  data.step = histogram.interval_seconds;
  data.start = Math.floor((from ?? buckets[0]?.[0] ?? now - 3600e3) / step) * step;
  const end = to ?? (from == null ? (buckets.length ? buckets[buckets.length - 1][0] + step : now) : now);
  const count = Math.max(1, Math.min(2000, Math.ceil((end - data.start) / step)));
  data.bars = Array(count).fill(null);
  for (const [t, levels] of buckets) { const i = Math.round((t - data.start) / step); if (i >= 0 && i < count) data.bars[i] = levels; }
  data.ghost = [];
  if (brush && brush[1] >= count) brush = null;
  paint();
}
// The span before, as long as this one: a whole number of bars, so that they stand over one another.
export const shift = () => data.bars.length * data.step * 1e3;
export function fillGhost(histogram) {
  const step = data.step * 1e3, before = data.start - shift();
  data.ghost = Array(data.bars.length).fill(0);
  for (const bucket of histogram.buckets) { const i = Math.round((Date.parse(bucket.from) - before) / step); if (i >= 0 && i < data.ghost.length) data.ghost[i] = bucket.total; }
  data.ghostBad = histogram.buckets.reduce((n, b) => n + (b.levels.ERROR || 0) + (b.levels.FATAL || 0), 0);
  paint();
}
export const count = () => sum(data.bars);
export const errorRates = () => data.bars.map(bar => { const all = total(bar); return all ? ((bar.ERROR || 0) + (bar.FATAL || 0)) / all : 0; });
export const byLevel = () => Object.fromEntries(LEVELS.map(level => [level, sum(data.bars, [level])]));
export const barTotals = () => data.bars.map(total);

function nice(max) {
  const ten = 10 ** Math.floor(Math.log10(Math.max(max, 1)));
  return [1, 2, 2.5, 5, 10].map(n => n * ten).find(n => n >= max / 4 && Number.isInteger(n)) ?? ten * 10;
}
const axisTime = t => { const [, , , H, M] = parts(t); return data.step >= 43200 || (H === 0 && M === 0) ? day(t).slice(5) : clock(t, data.step < 60 && data.bars.length * data.step < 300 ? 's' : 'm'); };
const layout = () => { const W = plot.clientWidth, H = plot.clientHeight, left = W < 500 ? 30 : 38; return { W, H, left, base: H - 18, bw: (W - left) / data.bars.length }; };

export function paint() {
  const { W, H, left, base, bw } = layout();
  if (H < 40 || !data.bars.length) return;
  const bars = data.bars, max = Math.max(1, ...bars.map(total), ...(data.showGhost ? data.ghost : []).map(n => n * .98)), tick = nice(max), top = Math.max(max * 1.06, 1);
  const y = v => v / top * base, gap = bw > 9 ? 3 : bw > 3 ? 1 : 0, x = i => left + i * bw;
  const svg = s('svg', { viewBox: `0 0 ${W} ${H}` });
  if (brush) svg.append(s('rect', { class: 'brush', x: x(brush[0]), y: 0, width: (brush[1] - brush[0] + 1) * bw, height: base }));
  for (let v = tick; v <= top && y(v) < base - 4; v += tick) if (v >= 1) svg.append(s('path', { class: 'grid', d: `M${left} ${Math.round(base - y(v)) + .5}H${W}` }), s('text', { x: left - 5, y: base - y(v) + 4, 'text-anchor': 'end' }, tick >= 1e4 ? `${v / 1e3}k` : num(v)));
  bars.forEach((bar, i) => {
    if (!bar) return;
    let foot = base;
    for (const level of LEVELS) if (bar[level]) {
      // One error is never less than 2 px, one fatal 3.
      const tall = Math.max(level === 'FATAL' ? 3 : level === 'ERROR' ? 2 : .5, y(bar[level]));
      foot -= tall;
      svg.append(s('rect', { class: 'f-' + level, x: (x(i) + gap / 2).toFixed(2), y: foot.toFixed(2), width: Math.max(.6, bw - gap).toFixed(2), height: tall.toFixed(2) }));
    }
    svg.append(s('rect', { class: 'cap', x: (x(i) + (bw > 9 ? gap / 2 : 0)).toFixed(2), y: foot.toFixed(2), width: (bw > 9 ? bw - gap : bw).toFixed(2), height: 1 }));
  });
  if (data.showGhost && data.ghost.some(Boolean)) {
    const line = data.ghost.map((v, i) => `${i ? 'L' : 'M'}${(x(i) + bw / 2).toFixed(1)} ${(base - y(v)).toFixed(1)}`).join('');
    svg.append(s('path', { class: 'halo', d: line }), s('path', { class: 'ghost', d: line }));
  }
  svg.append(s('path', { class: 'base', d: `M${left} ${base + .5}H${W}` }));
  const every = STEPS.concat([172800, 432000, 864000, 2592000, 7776000, 31536000]).find(step => step >= data.step && step / data.step * bw >= (W < 500 ? 84 : 110)) ?? 31536000;
  const offset = zone.utc ? 0 : -new Date(data.start).getTimezoneOffset() * 60;
  for (let i = 0; i < bars.length; i++) {
    const t = data.start + i * data.step * 1e3;
    if ((t / 1e3 + offset) % every >= data.step) continue;
    svg.append(s('path', { class: 'base', d: `M${x(i).toFixed(1)} ${base}v5` }), s('text', x(i) + 40 > W ? { x: (x(i) - 4).toFixed(1), y: H - 3, 'text-anchor': 'end' } : { x: (x(i) + 4).toFixed(1), y: H - 3 }, axisTime(t)));
  }
  if (brush) for (const edge of [x(brush[0]), x(brush[1] + 1)]) svg.append(s('path', { class: 'hand', d: `M${edge} 0V${base}` }), s('rect', { class: 'grip', x: edge - 2.5, y: base / 2 - 8, width: 5, height: 16, rx: 2.5 }));
  plot.replaceChildren(svg);
  const bad = sum(bars, ['ERROR', 'FATAL']);
  plot.setAttribute('aria-label', `${plural(count(), 'record')}, ${plural(bad, 'error')}, ${span(data.step)} a bar`);
  if (!brush && cursorBar == null) idle();
}
function tell(a, b = a) {
  const from = data.start + a * data.step * 1e3, to = data.start + (b + 1) * data.step * 1e3, part = data.bars.slice(a, b + 1);
  const before = data.ghost.slice(a, b + 1).reduce((n, v) => n + v, 0), seconds = data.step < 60 ? 's' : 'm';
  read.replaceChildren(h('b', {}, `${data.step >= 43200 ? day(from) : clock(from, seconds)}–${data.step >= 43200 ? day(to) : clock(to, seconds)}`), h('span', {}, ` ${plural(sum(part), 'record')}, ${plural(sum(part, ['ERROR', 'FATAL']), 'error')}${data.ghost.length ? `, before ${num(before)}` : ''}`), brush ? h('button', { type: 'button', class: 'link', on: { click: zoom } }, 'Zoom') : '');
}
function idle() {
  const bar = span(data.step);
  read.replaceChildren(h('span', {}, `${bar[0].toUpperCase() + bar.slice(1)} a bar. Drag to select${matchMedia('(pointer: coarse), (max-width: 620px)').matches ? '' : ', wheel to move in time'}.`), zooms.length ? h('button', { type: 'button', class: 'link', on: { click: zoomOut } }, 'Zoom out') : '');
}
const show = () => (brush ? tell(...brush) : cursorBar != null ? tell(cursorBar) : idle());

export function zoom() {
  if (!brush) return;
  const from = data.start + brush[0] * data.step * 1e3, to = data.start + (brush[1] + 1) * data.step * 1e3;
  zooms.push({ from: state.from, to: state.to });
  brush = null;
  set({ from: iso(from), to: iso(to), live: '' });
}
export function zoomOut() {
  brush = null;
  if (zooms.length) return set(zooms.pop());
  const { from, to, now } = bounds();
  if (from == null) return;
  const end = to ?? now, wide = end - from;
  set(to == null ? { from: iso(from - wide), to: '' } : { from: iso(from - wide / 2), to: iso(Math.min(now, end + wide / 2)) });
}
// Earlier or later by a share of the range.
export function moveBy(share) {
  const now = Date.now(), { from, to } = bounds(state, now);
  const start = from ?? data.start, end = to ?? (from == null ? data.start + shift() : now), wide = end - start;
  set({ from: iso(start + wide * share), to: iso(Math.min(end + wide * share, now + wide)), live: '' });
}
export const hasBrush = () => brush !== null;
export function dropBrush() { brush = null; paint(); show(); }
export const forgetZooms = () => { zooms = []; };

const barAt = event => { const { left, bw } = layout(); return Math.max(0, Math.min(data.bars.length - 1, Math.floor((event.clientX - plot.getBoundingClientRect().left - left) / bw))); };
plot.addEventListener('pointerdown', event => { if (event.button) return; drag = barAt(event); plot.setPointerCapture(event.pointerId); });
plot.addEventListener('pointermove', event => {
  const i = barAt(event);
  if (drag == null) { if (!brush) tell(i); return; }
  brush = [Math.min(drag, i), Math.max(drag, i)];
  paint();
  tell(...brush);
});
plot.addEventListener('pointerup', event => { if (drag === barAt(event)) brush = null; drag = null; paint(); show(); });
plot.addEventListener('pointercancel', () => { drag = null; });
plot.addEventListener('pointerleave', () => { if (drag == null) show(); });
plot.addEventListener('dblclick', zoomOut);
let wheeled = 0, wheelTimer = 0;
plot.addEventListener('wheel', event => {
  event.preventDefault();
  wheeled += Math.sign(event.deltaY || event.deltaX);
  clearTimeout(wheelTimer);
  wheelTimer = setTimeout(() => { const share = wheeled / 8; wheeled = 0; if (share) moveBy(Math.max(-1, Math.min(1, share))); }, 120);
}, { passive: false });
plot.addEventListener('keydown', event => {
  const n = data.bars.length, step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step && event.shiftKey) { brush ??= [cursorBar ?? n - 1, cursorBar ?? n - 1]; const end = step < 0 ? 0 : 1; brush[end] = Math.max(0, Math.min(n - 1, brush[end] + step)); }
  else if (step) { cursorBar = Math.max(0, Math.min(n - 1, (cursorBar ?? (step < 0 ? n : -1)) + step)); brush = [cursorBar, cursorBar]; }
  else if (event.key !== 'Enter' && event.key !== '0') return;
  // The page's own keys must not act on it again.
  event.preventDefault();
  event.stopPropagation();
  if (!step) return event.key === '0' ? zoomOut() : zoom();
  paint();
  show();
});
plot.addEventListener('blur', () => { cursorBar = null; });

export function paintLegend() {
  const counts = data.levels;
  legend.replaceChildren(...LEVELS.map(level => {
    const out = mode(state.q, 'level', level) === 'out';
    const click = event => set({ q: event.altKey ? (without(state.q, 'level') + ` level:${quotedValue(level)}`).trim() : toggle(state.q, 'level', level, true) });
    return h('button', { type: 'button', 'aria-pressed': String(!out), title: out ? `Show ${levelName(level)} again` : `Leave ${levelName(level)} out; with Alt only it`, on: { click } }, glyph(level), h('b', {}, levelName(level)), h('i', {}, out ? 'out' : num(counts[level] || 0)));
  }), h('button', { type: 'button', class: 'ghost', 'aria-pressed': String(data.showGhost), title: 'The span before', on: { click: () => { data.showGhost = !data.showGhost; paintLegend(); paint(); } } }, s('svg', { class: 'g', viewBox: '0 0 16 12', 'aria-hidden': true }, s('path', { d: 'M0 8l5-4 5 3 6-3', fill: 'none', stroke: 'currentColor' })), h('b', {}, 'Before')));
}
new ResizeObserver(() => paint()).observe(plot);
