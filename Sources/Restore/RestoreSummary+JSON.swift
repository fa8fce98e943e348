package import Metadata
internal import ObjectStore
package import ThawCore
package import Wire

// What travels through the control socket and what `--json` prints: docs/notes/control.md has the names. A time is
// RFC 3339, a size is in bytes, a key is percent-encoded, and what is not known is null.

extension JSON {
    package init(_ time: Timestamp?) { self.init(time.map { WireDate.iso8601($0) }) }
    package init(_ number: Int?) { self = number.map { JSON($0) } ?? .null }
    package init(_ key: ObjectKey) { self = .string(PercentEncoding.encode(key.bytes, keepingSlash: true)) }

    package var tier: RestoreTier? { string.flatMap { RestoreTier(rawValue: $0) } }
    fileprivate var key: ObjectKey? { string.flatMap { PercentEncoding.decode($0) }.map { ObjectKey($0) } }

    // Member lookups for initializers: `json[time: "eta"]`.
    package subscript(key name: String) -> ObjectKey? { self[name]?.key }
    package subscript(text name: String) -> String? { self[name]?.string }
    package subscript(time name: String) -> Timestamp? { self[name]?.string.flatMap { WireDate.parseISO8601($0) } }
    package subscript(bytes name: String) -> UInt64? { self[name]?.int.flatMap { UInt64(exactly: $0) } }
    fileprivate subscript(tally name: String) -> Tally? { self[name].flatMap { Tally($0) } }
}

extension Tally {
    package var json: JSON { ["objects": JSON(objects), "bytes": JSON(bytes)] }

    package init?(_ json: JSON) {
        guard let objects = json["objects"]?.int, let bytes = json[bytes: "bytes"] else { return nil }
        self.init(objects: objects, bytes: bytes)
    }
}

extension RestoreScope {
    package var json: JSON { ["key": JSON(key), "version": JSON(version), "tree": .bool(kind == .tree)] }

    package init?(_ json: JSON) {
        guard let key = json[key: "key"] else { return nil }
        self.init(key: key, version: json[text: "version"], isTree: json["tree"]?.bool ?? false)
    }
}

extension RequestSummary {
    private static let origins: [(name: String, origin: RestoreOrigin)] = [
        ("reader", .reader), ("command", .command), ("ahead", .ahead),
    ]

    package var json: JSON {
        [
            "id": JSON(id), "origin": JSON(Self.origins.first { $0.origin == origin }?.name),
            "requester": JSON(requester), "target": JSON(target), "days": JSON(wish.days),
            "tier": JSON(wish.tier?.rawValue), "created": JSON(createdAt), "finished": JSON(finishedAt),
            "collecting": .bool(isCollecting), "incomplete": .bool(isIncomplete),
            "objects": JSON(total.objects), "bytes": JSON(total.bytes),
            "eta": JSON(eta), "error": JSON(error),
            "stages": .object(
                Dictionary(uniqueKeysWithValues: RestoreStage.allCases.map { ($0.rawValue, self[$0].json) })),
        ]
    }

    package init?(_ json: JSON) {
        guard let id = json["id"]?.int, let createdAt = json[time: "created"], let target = json[text: "target"],
            let requester = json[text: "requester"], let stages = json["stages"],
            let origin = Self.origins.first(where: { $0.name == json[text: "origin"] })?.origin
        else { return nil }
        self.id = Int64(id)
        self.origin = origin
        self.requester = requester
        self.target = target
        wish = RestoreWish(days: json["days"]?.int, tier: json["tier"]?.tier)
        self.createdAt = createdAt
        finishedAt = json[time: "finished"]
        isCollecting = json["collecting"]?.bool ?? false
        isIncomplete = json["incomplete"]?.bool ?? false
        tallies = [:]
        for stage in RestoreStage.allCases { tallies[stage] = stages[tally: stage.rawValue] }
        eta = json[time: "eta"]
        error = json[text: "error"]
    }

    package subscript(stage: RestoreStage) -> Tally { tallies[stage] ?? Tally() }
    package var total: Tally { tallies.values.reduce(Tally(), +) }
}

extension WaiterSummary {
    package var json: JSON {
        ["key": JSON(key), "version": JSON(version), "caller": JSON(caller), "since": JSON(since)]
    }

    package init?(_ json: JSON) {
        guard let key = json[key: "key"], let caller = json[text: "caller"], let since = json[time: "since"] else {
            return nil
        }
        self.key = key
        version = json[text: "version"]
        self.caller = caller
        self.since = since
    }
}

extension LaneSummary {
    package var json: JSON {
        [
            "name": JSON(name), "per_second": .number(perSecond), "per_second_max": .number(perSecondMax),
            "bytes_today": JSON(bytesToday), "bytes_per_day": bytesPerDay.map { JSON($0) } ?? .null,
            "paused": JSON(pauseReason),
        ]
    }

    package init?(_ json: JSON) {
        guard let name = json[text: "name"], let perSecond = json["per_second"]?.number,
            let perSecondMax = json["per_second_max"]?.number, let bytesToday = json[bytes: "bytes_today"]
        else { return nil }
        self.name = name
        self.perSecond = perSecond
        self.perSecondMax = perSecondMax
        self.bytesToday = bytesToday
        bytesPerDay = json[bytes: "bytes_per_day"]
        pauseReason = json[text: "paused"]
    }
}

extension Survey {
    package var json: JSON {
        [
            "online": online.json, "classes": .array(rows.map(\.json)),
            "missing": .array(missing.map { JSON($0) }),
        ]
    }

    package init?(_ json: JSON) {
        guard let online = json[tally: "online"], let rows = json["classes"]?.array else { return nil }
        self.init()
        self.online = online
        self.rows = rows.compactMap { Row($0) }
        missing = (json["missing"]?.array ?? []).compactMap(\.key)
    }

    /// Adds what another part of the same scopes holds.
    package mutating func add(_ other: Survey) {
        online = online + other.online
        missing += other.missing
        for row in other.rows {
            let index = rows.firstIndex { $0.storageClass == row.storageClass && $0.order == row.order }
            guard let index else {
                rows.append(row)
                continue
            }
            rows[index].frozen = rows[index].frozen + row.frozen
            rows[index].extended = rows[index].extended + row.extended
            rows[index].restoring = rows[index].restoring + row.restoring
            rows[index].restored = rows[index].restored + row.restored
        }
    }
}

extension Survey.Row {
    package var json: JSON {
        [
            "storage_class": JSON(storageClass.name), "days": JSON(order.days), "tier": JSON(order.tier?.rawValue),
            "frozen": frozen.json, "extended": extended.json, "restoring": restoring.json, "restored": restored.json,
            "longest_seconds": JSON(longest.map { Int($0.components.seconds) }), "billed": billed.json,
        ]
    }

    package init?(_ json: JSON) {
        guard let name = json[text: "storage_class"], let frozen = json[tally: "frozen"],
            let extended = json[tally: "extended"], let restoring = json[tally: "restoring"],
            let restored = json[tally: "restored"]
        else { return nil }
        storageClass = StorageClass(name)
        order = RestoreOrder(days: json["days"]?.int, tier: json["tier"]?.tier)
        self.frozen = frozen
        self.extended = extended
        self.restoring = restoring
        self.restored = restored
        longest = json["longest_seconds"]?.int.map { .seconds($0) }
    }
}
