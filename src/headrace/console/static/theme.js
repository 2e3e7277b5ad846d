// Before anything is painted: the theme that the reader chose.
try {
  const name = localStorage.getItem("headrace-theme");
  if (name === "light" || name === "dark") document.documentElement.dataset.theme = name;
} catch { /* no storage: the system's preference holds */ }
