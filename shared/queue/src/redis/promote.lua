-- Makes what was pushed available at once, whatever the clocks of two machines say, and wakes
-- those who wait. The oldest bells beyond the bound are dropped: each of them says only "look".
-- KEYS: scheduled set, active list, data hash, prefix of metadata
-- ARGV: channel to wake on, most bells to keep
local due = redis.call('zrange', KEYS[1], 0, 999)
if #due > 0 then
    redis.call('rpush', KEYS[2], unpack(due))
    redis.call('zrem', KEYS[1], unpack(due))
end
local over = math.min(redis.call('llen', KEYS[2]) - tonumber(ARGV[2]), 5000)
if over > 0 then
    for _, id in ipairs(redis.call('lrange', KEYS[2], 0, over - 1)) do
        redis.call('hdel', KEYS[3], id)
        redis.call('del', KEYS[4] .. ':' .. id)
    end
    redis.call('ltrim', KEYS[2], over, -1)
end
redis.call('publish', ARGV[1], '')
return #due
