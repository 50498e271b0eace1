// The OpenAPI document: references followed, operations listed, examples and curl lines made.
export interface Schema {
  $ref?: string; type?: string | string[]; format?: string; title?: string; description?: string;
  properties?: Record<string, Schema>; required?: string[]; items?: Schema; prefixItems?: Schema[];
  additionalProperties?: boolean | Schema; enum?: unknown[]; const?: unknown; default?: unknown;
  example?: unknown; examples?: unknown[]; oneOf?: Schema[]; anyOf?: Schema[]; allOf?: Schema[];
  minimum?: number; maximum?: number;
}
export interface Parameter { $ref?: string; name: string; in: string; required?: boolean; description?: string; schema?: Schema; example?: unknown }
interface Media { schema?: Schema; example?: unknown; examples?: Record<string, { value?: unknown }> }
export interface Body { $ref?: string; description?: string; required?: boolean; content?: Record<string, Media> }
export interface Document {
  info?: { title?: string; version?: string; description?: string };
  security?: unknown[];
  components?: { securitySchemes?: Record<string, { type?: string; scheme?: string; description?: string }> };
  paths?: Record<string, Record<string, unknown>>;
}
interface Raw {
  summary?: string; description?: string; tags?: string[]; operationId?: string; parameters?: Parameter[]; requestBody?: Body;
  responses?: Record<string, Body>; security?: unknown[];
}
export interface Operation {
  id: string; method: string; path: string; tag: string; summary: string; description: string; keyed: boolean;
  parameters: Parameter[]; body: Body | null; responses: [string, Body][];
}

const METHODS = ["get", "post", "put", "patch", "delete", "head", "options"];

/** What `#/components/...` stands for, with what is written beside the reference. */
export function follow<T extends { $ref?: string }>(doc: Document, value: T): T {
  for (let hops = 0; value?.$ref && hops < 20; hops++) {
    const { $ref, ...beside } = value;
    const steps = $ref.replace(/^#\//, "").split("/").map((step) => decodeURIComponent(step).replaceAll("~1", "/").replaceAll("~0", "~"));
    const found = steps.reduce<unknown>((at, step) => (at as Record<string, unknown> | undefined)?.[step], doc);
    value = { ...(found as T), ...beside };
  }
  return value;
}

export function operations(doc: Document): Operation[] {
  return Object.entries(doc.paths ?? {}).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => {
      const raw = item[method] as Raw;
      const shared = (item.parameters as Parameter[] | undefined) ?? [];
      return {
        id: `${method}-${path.replace(/[^\w]+/g, "-")}`, method: method.toUpperCase(), path,
        tag: raw.tags?.[0] ?? "", summary: raw.summary ?? raw.operationId ?? "", description: raw.description ?? "",
        keyed: (raw.security ?? doc.security ?? []).some((one) => Object.keys(one as object).length > 0),
        parameters: [...shared, ...(raw.parameters ?? [])].map((parameter) => follow(doc, parameter)),
        body: raw.requestBody ? follow(doc, raw.requestBody) : null,
        responses: Object.entries(raw.responses ?? {}).map(([status, answer]) => [status, follow(doc, answer)]),
      };
    }),
  );
}

/** The type in a few words: `array of string`, `number or null`. */
export function kind(doc: Document, given: Schema | boolean | undefined): string {
  if (!given || given === true) return "anything";
  const named = given.$ref?.split("/").pop();
  const schema = follow(doc, given);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices) return choices.map((choice) => kind(doc, choice)).join(" or ");
  if (schema.allOf?.length === 1) return kind(doc, schema.allOf[0]);
  if (schema.items) return `array of ${kind(doc, schema.items)}`;
  const types = [schema.type ?? (schema.properties || schema.allOf ? "object" : "anything")].flat();
  return types.map((type) => (type === "object" && named ? named : type)).join(" or ") + (schema.format ? `, ${schema.format}` : "");
}

/** The schema whose properties are worth a line each: behind arrays, references and a null beside it. */
export function inner(doc: Document, given: Schema | undefined): Schema | null {
  if (!given) return null;
  const schema = follow(doc, given);
  if (schema.allOf) {
    const parts = schema.allOf.map((part) => inner(doc, part) ?? {});
    const required = parts.flatMap((part) => part.required ?? []);
    return { ...schema, properties: Object.assign({}, ...parts.map((part) => part.properties), schema.properties), required };
  }
  if (schema.properties) return schema;
  if (schema.items) return inner(doc, schema.items);
  const choices = (schema.oneOf ?? schema.anyOf)?.map((choice) => inner(doc, choice)).filter((choice) => choice !== null) ?? [];
  if (choices.length === 1) return choices[0];
  if (choices.length > 1) return null;
  return typeof schema.additionalProperties === "object" ? inner(doc, schema.additionalProperties) : null;
}

export function example(doc: Document, given: Schema | undefined, depth = 0): unknown {
  if (!given || depth > 6) return null;
  const schema = follow(doc, given);
  if (schema.example !== undefined) return schema.example;
  if (schema.examples?.length) return schema.examples[0];
  if (schema.const !== undefined) return schema.const;
  if (schema.default !== undefined && schema.default !== null) return schema.default;
  if (schema.enum?.length) return schema.enum[0];
  const choice = schema.oneOf?.[0] ?? schema.anyOf?.[0];
  if (choice) return example(doc, choice, depth + 1);
  if (schema.properties || schema.allOf) {
    const { properties = {}, required = [] } = inner(doc, schema) ?? {};
    const named = Object.entries(properties).filter(([name]) => required.length === 0 || required.includes(name));
    return Object.fromEntries(named.map(([name, one]) => [name, example(doc, one, depth + 1)]));
  }
  if (schema.items) return [example(doc, schema.items, depth + 1)];
  const type = [schema.type].flat()[0];
  if (type === "integer" || type === "number") return schema.minimum ?? 1;
  if (type === "boolean") return true;
  if (type === "object") return {};
  return type === "string" ? "…" : null;
}

export function bodyExample(doc: Document, media: Media): unknown {
  return media.example ?? Object.values(media.examples ?? {})[0]?.value ?? example(doc, media.schema);
}

const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;

/** A command line that can be copied. */
export function curl(doc: Document, operation: Operation, origin: string): string {
  const value = (parameter: Parameter) => {
    const made = parameter.example ?? example(doc, parameter.schema);
    return made === null || made === "…" || made === 1 ? parameter.name.toUpperCase() : String(made);
  };
  const of = (place: string) => operation.parameters.filter((parameter) => parameter.in === place);
  const path = of("path").reduce((path, parameter) => path.replace(`{${parameter.name}}`, encodeURIComponent(value(parameter))), operation.path);
  const query = of("query").filter((parameter) => parameter.required).map((parameter) => `${parameter.name}=${encodeURIComponent(value(parameter))}`);
  const parts = [`curl ${operation.method === "GET" || (operation.method === "POST" && operation.body) ? "" : `-X ${operation.method} `}${quoted(origin + path + (query.length ? `?${query.join("&")}` : ""))}`];
  if (operation.keyed) parts.push(`-H "Authorization: Bearer $KEY"`);
  const content = Object.entries(operation.body?.content ?? {});
  const json = content.find(([type]) => type.includes("json"));
  if (json) parts.push(`-H 'Content-Type: ${json[0]}'`, `-d ${quoted(JSON.stringify(bodyExample(doc, json[1])))}`);
  else if (content.length) parts.push(content[0][0].startsWith("multipart/") ? "-F file=@FILE" : `-H 'Content-Type: ${content[0][0]}' --data-binary @FILE`);
  return parts.join(" \\\n  ");
}
