-- Runs before an operator's script: hands it what is harmless, and its result back as JSON.
-- For Lua 5.1 to 5.4 and LuaJIT.  portald appends a call: run(script, function, argument).

local write, load_text, set_environment = io.write, loadstring or load, setfenv
local format, find, gsub = string.format, string.find, string.gsub

local function quote(text)
  local function escape(char)
    return format("\\u%04x", char:byte())
  end
  return '"' .. gsub(text, '[%c"\\\127]', escape) .. '"'
end

local function encode(value, depth)
  local kind = type(value)
  if depth > 20 then
    error("a result too deep", 0)
  elseif kind == "nil" then
    return "null"
  elseif kind == "boolean" then
    return tostring(value)
  elseif kind == "string" then
    return quote(value)
  elseif kind == "number" then
    if value ~= value or value == 1 / 0 or value == -1 / 0 then
      error("a result that is not finite", 0)
    end
    return value % 1 == 0 and format("%.0f", value) or format("%.17g", value)
  elseif kind ~= "table" then
    error("a result with a " .. kind, 0)
  end
  local parts = {}
  if #value > 0 then
    for _, inner in ipairs(value) do
      parts[#parts + 1] = encode(inner, depth + 1)
    end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  for name, inner in pairs(value) do
    if type(name) ~= "string" then
      error("a result with a " .. type(name) .. " for a name", 0)
    end
    parts[#parts + 1] = quote(name) .. ":" .. encode(inner, depth + 1)
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

local function copy(library, without)
  local copied = {}
  for name, value in pairs(library) do
    if name ~= without then
      copied[name] = value
    end
  end
  return copied
end

local environment = {
  assert = assert, error = error, ipairs = ipairs, next = next, pairs = pairs, pcall = pcall,
  select = select, setmetatable = setmetatable, tonumber = tonumber, tostring = tostring, type = type,
  unpack = unpack or table.unpack, math = copy(math), string = copy(string, "dump"),
  table = copy(table), utf8 = utf8 and copy(utf8), bit = bit and copy(bit),
  json = function(value)
    return encode(value, 0)
  end,
}
environment._G = environment

-- Out of reach twice: not in the environment, and not anywhere else either.
string.dump = nil
for _, name in ipairs({
  "os", "io", "debug", "package", "require", "module", "dofile", "loadfile", "load", "loadstring",
  "collectgarbage", "getfenv", "setfenv", "getmetatable", "rawset", "newproxy", "print", "warn",
  "coroutine", "jit", "ffi",
}) do
  _G[name] = nil
end

local function fail(what)
  write('{"failed":' .. quote(tostring(what)) .. "}")
end

function run(script, name, argument)
  if find(script, "^\27") then
    return fail("script: not a text")
  end
  local chunk, problem = load_text(script, "=script", "t", environment)
  if not chunk then
    return fail(problem)
  end
  if set_environment then
    set_environment(chunk, environment)
  end
  local good, trouble = pcall(chunk)
  if not good then
    return fail(trouble)
  end
  local called = environment[name]
  if called == nil then
    return write('{"absent":true}')
  end
  local results = { pcall(called, argument) }
  if not results[1] then
    return fail(results[2])
  end
  local encoded = {}
  for position = 2, 4 do
    local fine, text = pcall(encode, results[position], 0)
    if not fine then
      return fail(text)
    end
    encoded[#encoded + 1] = text
  end
  write('{"results":[' .. table.concat(encoded, ",") .. "]}")
end
