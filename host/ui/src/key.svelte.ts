// The key that the server asks for. It lives as long as the tab.
const PLACE = "fusemix-key";

function kept(): string {
  try {
    return sessionStorage.getItem(PLACE) ?? "";
  } catch {
    return "";
  }
}

class Key {
  value = $state(kept());
  /** The server's words while the key is asked for. */
  wanted = $state<string | null>(null);
  #waiting: ((given: boolean) => void)[] = [];

  /** Whether there is a key to try, another one than `tried`. Calls that wait at the same time share one question. */
  ask(message: string, tried: string): Promise<boolean> {
    if (this.value !== tried) return Promise.resolve(true);
    this.wanted = message;
    return new Promise((done) => this.#waiting.push(done));
  }

  give(value: string | null) {
    this.wanted = null;
    if (value !== null) {
      this.value = value;
      try {
        sessionStorage.setItem(PLACE, value);
      } catch {
        // Without storage the key lasts until the page is left.
      }
    }
    for (const done of this.#waiting.splice(0)) done(value !== null);
  }
}

export const key = new Key();
