-- Takes what a request asks of its limits and, where all of it is there, looks for its answer: one round trip for both.
-- KEYS: those of limits_take.lua, then those of look.lua; without these only the limits are asked.
-- ARGV: how many of the keys and of the further arguments are limits_take.lua's; the arguments, likewise.
-- Returns what limits_take.lua does and, unless it refuses, what look.lua does.
local keys, arguments = tonumber(ARGV[1]), tonumber(ARGV[2])
local taken = limits_take({unpack(KEYS, 1, keys)}, {unpack(ARGV, 3, arguments + 2)})
if taken[1] ~= '0' or keys == #KEYS then
  return {taken}
end
return {taken, look({unpack(KEYS, keys + 1)}, {unpack(ARGV, arguments + 3)})}
