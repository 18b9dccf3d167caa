/** The languages that Whisper models hear. */

const CODES =
  "af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi hr ht hu hy id is " +
  "it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc pa pl ps pt ro ru sa sd si sk sl " +
  "sn so sq sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo yue zh";

/** @returns {{code: string, name: string}[]} in the order of their English names */
export function languages() {
  const names = new Intl.DisplayNames("en", { type: "language", fallback: "code" });
  const named = CODES.split(" ").map((code) => ({ code, name: code === "jw" ? "Javanese" : (names.of(code) ?? code) }));
  return named.sort((one, other) => one.name.localeCompare(other.name, "en"));
}
