// Building the page. Log text is hostile: it reaches the page as text nodes only, never as markup.
export const $ = (selector, at = document) => at.querySelector(selector);
export const $$ = (selector, at = document) => [...at.querySelectorAll(selector)];

function make(namespace, tag, attributes, children) {
  const element = namespace ? document.createElementNS('http://www.w3.org/2000/svg', tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value == null || value === false) continue;
    if (name === 'on') for (const [type, run] of Object.entries(value)) element.addEventListener(type, run);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat(9).filter(child => child != null && child !== false));
  return element;
}
export const h = (tag, attributes, ...children) => make(false, tag, attributes, children);
export const s = (tag, attributes, ...children) => make(true, tag, attributes, children);
export const icon = (id, cls = 'i') => s('svg', { class: cls, 'aria-hidden': true }, s('use', { href: '#' + id }));
export const glyph = level => icon(level, 'g ' + level);
export const act = (label, id, run) => h('button', { type: 'button', 'aria-label': label, title: label, on: { click: run } }, icon(id));
export const setIcon = (at, id) => $('use', at).setAttribute('href', '#' + id);

export const LEVELS = ['FATAL', 'ERROR', 'WARN', 'INFO', 'DEBUG', 'TRACE'];
export const levelName = level => level[0] + level.slice(1).toLowerCase();

const THIN = '\u202f';
export const num = n => Math.round(n).toLocaleString('en').replaceAll(',', THIN);
export const short = n => (n >= 1e9 ? [(n / 1e9).toFixed(1), 'G'] : n >= 1e6 ? [(n / 1e6).toFixed(1), 'M'] : n >= 1e5 ? [(n / 1e3).toFixed(0), 'k'] : [num(n), '']).join(THIN).trim();
export const rate = n => (n >= 100 ? num(n) : n >= 10 ? n.toFixed(0) : n > 0 ? n.toFixed(1) : '0');
export const bytes = n => { const units = ['B', 'kB', 'MB', 'GB', 'TB']; let i = 0; while (n >= 1000 && i < 4) { n /= 1000; i++; } return [i && n < 100 ? n.toFixed(1) : Math.round(n), units[i]]; };
export const plural = (n, one, many = one + 's') => `${num(n)} ${n === 1 ? one : many}`;

// Times: UTC or local, by one switch.
export const zone = { utc: true };
const two = n => String(n).padStart(2, '0');
export function parts(t) {
  const d = new Date(t);
  return zone.utc
    ? [d.getUTCFullYear(), d.getUTCMonth() + 1, d.getUTCDate(), d.getUTCHours(), d.getUTCMinutes(), d.getUTCSeconds(), d.getUTCMilliseconds()]
    : [d.getFullYear(), d.getMonth() + 1, d.getDate(), d.getHours(), d.getMinutes(), d.getSeconds(), d.getMilliseconds()];
}
export const day = t => { const [y, m, d] = parts(t); return `${y}-${two(m)}-${two(d)}`; };
export const clock = (t, to = 'm') => { const [, , , H, M, S, ms] = parts(t); return two(H) + ':' + two(M) + (to === 'm' ? '' : ':' + two(S)) + (to === 'ms' ? '.' + String(ms).padStart(3, '0') : ''); };
export const stamp = t => `${day(t)} ${clock(t, 's')}`;
export function ago(t) {
  const seconds = Math.max(0, (Date.now() - t) / 1e3);
  return seconds < 90 ? `${Math.round(seconds)} s ago` : seconds < 5400 ? `${Math.round(seconds / 60)} min ago` : seconds < 129600 ? `${Math.round(seconds / 3600)} h ago` : `${Math.round(seconds / 86400)} days ago`;
}
export function span(seconds) {
  for (const [size, name] of [[86400, 'day'], [3600, 'hour'], [60, 'minute']]) if (seconds >= size && seconds % size === 0) return seconds === size ? `a ${name}`.replace('a hour', 'an hour') : `${seconds / size} ${name}s`;
  return seconds === 1 ? 'a second' : `${seconds} seconds`;
}

const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/;
const boxed = c => h('span', { class: 'ctl-ch', title: 'a control or bidirectional mark, shown and not obeyed' }, 'U+' + c.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0'));

// Text as nodes: marks in boxes, what was searched for marked, ANSI colours by choice.
export function shown(text, { hits = null, ansi = false } = {}) {
  const out = [];
  let style = '';
  const plain = part => {
    const nodes = [];
    for (const [i, piece] of (hits ? part.split(hits) : [part]).entries()) {
      if (!piece) continue;
      if (i % 2) { nodes.push(h('mark', {}, piece)); continue; }
      if (!CONTROL.test(piece)) { nodes.push(piece); continue; }
      let from = 0;
      for (let at = 0; at < piece.length; at++) if (CONTROL.test(piece[at])) { if (at > from) nodes.push(piece.slice(from, at)); nodes.push(boxed(piece[at])); from = at + 1; }
      if (from < piece.length) nodes.push(piece.slice(from));
    }
    out.push(...(style ? [h('span', { class: style }, nodes)] : nodes));
  };
  if (!ansi || !text.includes('\u001b[')) { plain(text); return out; }
  let at = 0;
  for (const match of text.matchAll(/\u001b\[([\d;]*)m/g)) {
    plain(text.slice(at, match.index));
    at = match.index + match[0].length;
    const set = new Set(style.split(' ').filter(Boolean));
    for (const code of (match[1] || '0').split(';').map(Number)) {
      if (code === 0) set.clear();
      else if (code === 1) set.add('a-bold');
      else if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97)) { for (const c of set) if (/^a-\d/.test(c)) set.delete(c); set.add('a-' + (code % 10)); }
      else if (code === 39) for (const c of set) if (/^a-\d/.test(c)) set.delete(c);
    }
    style = [...set].join(' ');
  }
  plain(text.slice(at));
  return out;
}

// A name cut in its middle: the tail tells pods apart.
export const middle = (text, keep = 5) => h('span', { class: 'mid', title: text }, h('span', {}, shown(text.slice(0, -keep))), h('span', {}, shown(text.slice(-keep))));

export async function copy(text, said) {
  try {
    await navigator.clipboard.writeText(text);
    say(said || 'Copied');
  } catch {
    // No clipboard without a secure origin: the old way.
    const area = h('textarea', { class: 'vh' });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand('copy');
    area.remove();
    say(said || 'Copied');
  }
}
let saying = 0;
export function say(text) {
  const at = $('#say');
  at.textContent = text;
  at.hidden = false;
  clearTimeout(saying);
  saying = setTimeout(() => { at.hidden = true; }, 2500);
}
export const kept = {
  get(name, otherwise) { try { return JSON.parse(localStorage.getItem('logboom.' + name)) ?? otherwise; } catch { return otherwise; } },
  set(name, value) { try { localStorage.setItem('logboom.' + name, JSON.stringify(value)); } catch { /* private mode: not kept */ } },
};
