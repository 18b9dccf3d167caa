-- What the scripts of limits begin with: the server's clock, and numbers as they stand under its keys.
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6

-- Return a reply as a number; nil for what is none, for infinity and for what is not a number.
local function number(reply)
  local value = type(reply) == 'string' and tonumber(reply) or nil
  return value == value and value ~= math.huge and value or nil
end

local function text(value)
  return string.format('%.17g', value)
end
