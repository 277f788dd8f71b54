"use strict";
(() => {
  // Light and dark: the system's wish until the reader says otherwise.
  const theme = document.querySelector("#theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const isDark = () => (root.style.colorScheme || (dark.matches ? "dark" : "light")) === "dark";
  const nameTheme = () => { theme.textContent = isDark() ? "☀ Light" : "☾ Dark"; };
  theme.addEventListener("click", () => { root.style.colorScheme = isDark() ? "light" : "dark"; nameTheme(); });
  dark.addEventListener("change", nameTheme);
  nameTheme();
  theme.hidden = false;
})();
