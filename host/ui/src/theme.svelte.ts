// Light or dark: the system's, until the reader chooses.
const system = matchMedia("(prefers-color-scheme: dark)");

class Theme {
  #chosen = $state(document.documentElement.dataset.theme);
  #system = $state(system.matches);

  constructor() {
    system.addEventListener("change", () => (this.#system = system.matches));
  }

  get dark() {
    return this.#chosen ? this.#chosen === "dark" : this.#system;
  }

  toggle() {
    this.#chosen = this.dark ? "light" : "dark";
    document.documentElement.dataset.theme = this.#chosen;
    try {
      localStorage.setItem("theme", this.#chosen);
    } catch {
      // Without storage the choice lasts until the page is left.
    }
  }
}

export const theme = new Theme();
