// Just enough of the filter: `column op value`, joined by `and`.
export function filter(text, columns) {
  const tests = text.split(/\s+and\s+/).map((part) => {
    const match = /^\s*(\w+)\s*(<=|>=|!=|=|<|>|~)\s*('[^']*'|"[^"]*"|[^\s'"]+)\s*$/.exec(part);
    if (!match) throw new Error(`where: \`${part.trim()}\` is no condition. One is \`price < 20\` or \`name ~ rose\`.`);
    const [, column, sign, raw] = match;
    if (column !== "id" && !columns.includes(column)) throw new Error(`where: there is no column \`${column}\`. There are ${columns.join(", ")}.`);
    const value = raw.replace(/^['"]|['"]$/g, "");
    return (item) => {
      const cell = column in item.metadata ? item.metadata[column] : column === "id" ? item.id : null;
      if (cell === null || cell === undefined) return false;
      const [a, b] = typeof cell === "number" ? [cell, Number(value)] : [cell, value];
      return { "<": a < b, ">": a > b, "<=": a <= b, ">=": a >= b, "=": a === b, "!=": a !== b,
        "~": String(a).toLowerCase().includes(String(b).toLowerCase()) }[sign];
    };
  });
  return (item) => tests.every((test) => test(item));
}
