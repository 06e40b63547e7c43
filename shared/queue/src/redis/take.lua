-- Takes one request from a caller's quota (GCRA), by Redis' own clock.
-- KEYS[1]: the caller. ARGV: window and step in microseconds.
-- Answers: when its quota is full again and the time, in microseconds, and whether it may.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local window = tonumber(ARGV[1])
local step = tonumber(ARGV[2])
local full = tonumber(redis.call('GET', KEYS[1]) or '0') or 0
if full < now then full = now end
if full > now + window then full = now + window end
local allowed = 0
if full + step - now - window <= 0 then
  allowed = 1
  full = full + step
  redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000) + 1000)
end
return { string.format('%.0f', full), string.format('%.0f', now), allowed }
