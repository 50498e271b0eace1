// Runs before the first paint, so that a chosen theme does not flash in.
try {
  const chosen = localStorage.getItem("theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
} catch {
  // Without storage the system's theme stays.
}
