-- Makes a queue fit to be served: gives back what a listener that is gone had taken, and puts
-- aside what apalis could not read (one such entry ends its worker). Returns how many were put
-- aside.
-- KEYS: active list, data hash, prefix of metadata, scheduled set, quarantine list, workers set,
--       signal list, in-flight set of the listener that is gone, its metadata
-- ARGV: name of the listener that is gone or '', most entries to look at, most to keep in
--       quarantine, channel to wake on, most tasks that there can rightly be
local active, data, metadata, scheduled, quarantine, workers = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local inflight = KEYS[8]
local aside = 0

local function type_of(key)
    return redis.call('type', key).ok
end

-- JSON is text, and what is put aside may be anything.
local function text_of(value, length)
    return (string.gsub(string.sub(value, 1, length), '[\128-\255]', '?'))
end

local function put_aside(id, why, message)
    local entry = {id = text_of(id, 256), why = why}
    if message then
        entry.message = text_of(message, 4096)
    end
    redis.call('lpush', quarantine, cjson.encode(entry))
    aside = aside + 1
end

-- Somebody may have used one of our names for something else.
local belongs = {[quarantine] = 'list', [active] = 'list', [data] = 'hash', [scheduled] = 'zset',
    [workers] = 'zset', [inflight] = 'set', [KEYS[7]] = 'list'}
for key, wanted in pairs(belongs) do
    local found = type_of(key)
    if found ~= 'none' and found ~= wanted then
        redis.call('del', key)
        put_aside(key, 'a ' .. found .. ' where a ' .. wanted .. ' belongs')
    end
end

-- The same questions that apalis asks, whose answer "no" is an error there.
local states = {Pending = true, Queued = true, Running = true, Done = true, Failed = true, Killed = true}
local function trouble(id)
    if id == '' or string.find(id, '[\128-\255]') then
        return 'not the id of a task'
    end
    local key = metadata .. ':' .. id
    local found = type_of(key)
    if found == 'none' then
        return 'a task without metadata'
    elseif found ~= 'hash' then
        return 'metadata that are none'
    end
    local fields = redis.call('hgetall', key)
    local map = {}
    for i = 1, #fields, 2 do
        if string.find(fields[i], '[\128-\255]') or string.find(fields[i + 1], '[\128-\255]') then
            return 'metadata that are no text'
        end
        map[fields[i]] = fields[i + 1]
    end
    for _, name in ipairs({'attempts', 'max_attempts'}) do
        if not string.find(map[name] or '', '^%d%d?%d?%d?%d?%d?%d?%d?%d?$') then
            return 'metadata without ' .. name
        end
    end
    if not states[map.status or ''] then
        return 'metadata without status'
    end
    if redis.call('hexists', data, id) == 0 then
        return 'a task without data'
    end
end

local function drop(id)
    redis.call('hdel', data, id)
    redis.call('del', metadata .. ':' .. id)
end

local function screen(id)
    local why = trouble(id)
    if why then
        put_aside(id, why, redis.call('hget', data, id) or nil)
        drop(id)
    end
    return not why
end

for _, id in ipairs(redis.call('lrange', active, 0, tonumber(ARGV[2]) - 1)) do
    if not screen(id) then
        redis.call('lrem', active, 0, id)
    end
end

if ARGV[1] ~= '' then
    for _, id in ipairs(redis.call('smembers', inflight)) do
        if screen(id) then
            redis.call('lpush', active, id)
        end
    end
    redis.call('del', inflight, KEYS[9])
    redis.call('zrem', workers, ARGV[1])
end

-- Tasks that nothing refers to any more: somebody deleted a list by hand. Bells are no loss.
if redis.call('hlen', data) > tonumber(ARGV[5]) then
    for _, id in ipairs(redis.call('hkeys', data)) do
        redis.call('del', metadata .. ':' .. id)
    end
    redis.call('del', data, active, scheduled)
end

if aside > 0 then
    redis.call('ltrim', quarantine, 0, tonumber(ARGV[3]) - 1)
end
if redis.call('llen', active) > 0 then
    redis.call('publish', ARGV[4], '')
end
return aside
