-- Makes tasks of many users, in turns, and says so when there are enough: wrk … -s fill.lua URL -- TASKS USERS
local wanted, users, sent, answered

function init(arguments)
    wanted, users, sent, answered = tonumber(arguments[1]), tonumber(arguments[2]), 0, 0
end

function request()
    -- A step that shares no factor with the users: each gets as many tasks, and none two in a row.
    local user = string.format("user-%d", (sent * 7919) % users)
    local rare = string.format("word%d", math.floor(sent / users) % 5)
    sent = sent + 1
    local body = string.format('{"title":"buy oat milk %d","description":"%s, as long as a description usually is"}', sent, rare)
    return wrk.format("POST", "/api/" .. user .. "/tasks", { ["X-User-Id"] = user, ["Content-Type"] = "application/json" }, body)
end

function response(status)
    if status ~= 201 then error("status " .. status) end
    answered = answered + 1
    if answered == wanted then
        io.stdout:write("enough\n")
        io.stdout:flush()
        wrk.thread:stop()
    end
end
