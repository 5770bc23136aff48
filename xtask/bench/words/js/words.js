export function count(text) {
  const counts = new Map();
  let words = 0;
  for (const word of text.split(/[ \t\r\n\f]+/)) {
    if (word === "") continue;
    words++;
    counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  const top = [...counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1)).slice(0, 10);
  return [`${words} ${counts.size}`, ...top.map(([word, n]) => `${word} ${n}`)].join("\n") + "\n";
}
