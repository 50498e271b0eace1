// The page's state in the hash of the address: `#/search?text=a+red+flower&k=12`.
export const PAGES = ["search", "map", "figures", "api"] as const;
export type PageName = (typeof PAGES)[number];
export type Values = Record<string, string | number | string[] | undefined | null>;

/** An address of the page. Values that are empty are left out. */
export function href(page: PageName, values: Values = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null && one !== "") query.append(name, String(one));
    }
  }
  const text = query.toString();
  return `#/${page}${text && "?" + text}`;
}

class Route {
  page = $state<PageName>("search");
  values = $state.raw(new URLSearchParams());

  constructor() {
    this.#read();
    addEventListener("hashchange", () => this.#read());
  }

  #read() {
    const [path, query = ""] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
    this.page = PAGES.find((page) => page === path) ?? "search";
    this.values = new URLSearchParams(query);
  }

  /** Whether that is another address than before. */
  go(page: PageName, values: Values = {}): boolean {
    const before = location.hash;
    location.hash = href(page, values);
    return location.hash !== before;
  }

  /** The same without a step for Back. */
  replace(page: PageName, values: Values = {}) {
    history.replaceState(null, "", href(page, values));
    this.#read();
  }
}

export const route = new Route();
