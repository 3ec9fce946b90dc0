// Heights of rows and their sums, as a Fenwick tree: where a row stands, and which stands where, in log n.
export class Heights {
  constructor() { this.clear(); }
  clear() { this.n = 0; this.values = new Float64Array(1024); this.tree = new Float64Array(1025); }
  push(height) {
    if (this.n === this.values.length) {
      const values = new Float64Array(this.n * 2), tree = new Float64Array(this.n * 2 + 1);
      values.set(this.values);
      tree.set(this.tree);
      this.values = values;
      this.tree = tree;
    }
    const i = ++this.n;
    this.values[i - 1] = height;
    // The sum that node i covers: its own value and those of the nodes below it.
    let sum = height;
    for (let j = i - 1; j > i - (i & -i); j -= j & -j) sum += this.tree[j];
    this.tree[i] = sum;
  }
  set(index, height) {
    const delta = height - this.values[index];
    if (!delta) return;
    this.values[index] = height;
    for (let i = index + 1; i <= this.n; i += i & -i) this.tree[i] += delta;
  }
  // The sum of the first `count`.
  sum(count) {
    let total = 0;
    for (let i = count; i > 0; i -= i & -i) total += this.tree[i];
    return total;
  }
  get total() { return this.sum(this.n); }
  // How many of the first stand wholly within `height`.
  fit(height) {
    let at = 0, step = 1;
    while (step * 2 <= this.n) step *= 2;
    for (; step; step >>= 1) if (at + step <= this.n && this.tree[at + step] <= height) { at += step; height -= this.tree[at]; }
    return at;
  }
}
