// What the first paint needs besides the page and its sheet, which is next to nothing: it comes first, and all that is
// asked for before it makes it wait. Then the other modules are asked for all at once, not one import after another.
const MODULES = ['dom', 'state', 'api', 'query', 'list', 'heights', 'detail', 'chart', 'facets', 'ask', 'menus', 'strip', 'live', 'status', 'advice', 'parse'];
// A page that nobody looks at paints nothing: it begins after this all the same.
const UNSEEN_MS = 250;

// The chosen colours and the page of the link are there at once, else the first paint flashes another.
try {
  const theme = JSON.parse(localStorage.getItem('logboom.theme'));
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch { /* private mode: nothing is kept */ }
const page = ['status', 'parse'].find(name => location.hash === '#' + name) ?? 'logs';
for (const name of ['logs', 'status', 'parse']) document.querySelector('#p-' + name).hidden = name !== page;

let begun = false;
function begin() {
  if (begun) return;
  begun = true;
  for (const name of MODULES) document.head.append(Object.assign(document.createElement('link'), { rel: 'modulepreload', href: name + '.js' }));
  import('./app.js');
}
requestAnimationFrame(() => setTimeout(begin));
setTimeout(begin, UNSEEN_MS);
