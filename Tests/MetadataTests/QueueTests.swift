import Metadata
import ObjectStore
import Testing
import ThawCore
import ThawTesting
import Wire

private let now = Timestamp(seconds: 1_800_000_000)

@Suite("the restore queue: wishes and claims")
struct QueueTests {
    @Test("what was wished for is there after reopening, with all that is known of it")
    func reopened() async throws {
        let directory = try TemporaryDirectory()
        var row = restoreRow("a/b", version: "v1", order: RestoreOrder(days: 7, tier: nil), sizeBytes: 1 << 40)
        row.moreDays = 30
        row.slowTier = .bulk
        row.askedAt = now
        row.dueAt = now + .seconds(5)
        row.copyUntil = .epoch
        row.strikes = 2
        row.error = "SlowDown"
        row.isOneOfMany = true
        do {
            let fixture = try Fixture(in: directory)
            row = try #require(try await fixture.wish(row).rows.first)
        }
        let fixture = try Fixture(in: directory)
        #expect(row.id > 0)
        #expect(try await fixture.reader.restore(of: row.key, version: "v1") == row)
        #expect(try await fixture.reader.restore(of: row.key, version: nil) == nil)
        let request = try #require(try await fixture.reader.requests(finishedMax: 9).first)
        #expect(request.request.requester == wishOfATest.requester && request.request.tier == .bulk)
        #expect(request.states == [.queued: Tally(objects: 1, bytes: 1 << 40)])
    }

    @Test("a request that was described and not committed is forgotten at the next mount, a committed one is not")
    func uncommitted() async throws {
        let fixture = try Fixture()
        let scope = ScopeRow(kind: .tree, key: ObjectKey("a/"), version: nil)
        let (idle, kept) = (try await fixture.open(scopes: [scope]), try await fixture.open(scopes: [scope]))
        try await fixture.writer.commit(kept)
        try await fixture.writer.forgetUncommitted()
        #expect(try await fixture.reader.request(idle) == nil)
        #expect(try await fixture.writer.scopes(of: idle, limit: 9).isEmpty)
        #expect(try await fixture.writer.collecting().map(\.id) == [kept])
        #expect(try await fixture.writer.scopes(of: kept, limit: 9) == [scope])
    }

    @Test("a request that is given up before it is committed leaves nothing; one that is committed stays")
    func abandoned() async throws {
        let fixture = try Fixture()
        let scope = ScopeRow(kind: .object, key: ObjectKey("a"), version: nil)
        let (idle, kept) = (try await fixture.open(scopes: [scope]), try await fixture.open(scopes: [scope]))
        try await fixture.writer.commit(kept)
        for request in [idle, kept] { try await fixture.writer.abandon(request) }
        #expect(try await fixture.writer.scopes(of: idle, limit: 9).isEmpty)
        #expect(try await fixture.writer.scopes(of: kept, limit: 9) == [scope])
        #expect(try await fixture.reader.requests(finishedMax: 9).map(\.request.id) == [kept])
    }

    @Test("the named go before the many, each in the order of their wishes, and what is put off waits")
    func order() async throws {
        let fixture = try Fixture()
        for (name, isOneOfMany, due) in [
            ("m1", true, Timestamp.epoch), ("m2", true, now + .seconds(1)), ("n1", false, now), ("n2", false, .epoch),
            ("n3", false, now + .seconds(1)), ("other", false, .epoch),
        ] {
            var row = restoreRow(name, lane: name == "other" ? "other" : "lane")
            (row.isOneOfMany, row.dueAt) = (isOneOfMany, due)
            _ = try await fixture.wish(row)
        }
        let first = try await fixture.claim(limit: 2)
        #expect(first.keys == ["n1", "n2"] && first.rows.allSatisfy { $0.state == .asking })
        #expect(try await fixture.claim(limit: 9).keys == ["m1"])
        #expect(try await fixture.claim(limit: 9).keys.isEmpty)
        #expect(try await fixture.writer.nextQueued(lane: "lane") == now + .seconds(1))
        #expect(try await fixture.claim(limit: 9, at: now + .seconds(1)).keys == ["n3", "m2"])
        #expect(try await fixture.writer.nextQueued(lane: "lane") == nil)
        #expect(try await fixture.writer.queuedLanes().map(\.lane) == ["other"])
    }

    @Test("a claim takes no more bytes than it may, says so, and charges what it took to the lane")
    func bytes() async throws {
        let fixture = try Fixture()
        for (name, size) in [("a", 40), ("b", 40), ("c", 40), ("d", 1)] as [(String, UInt64)] {
            _ = try await fixture.wish(restoreRow(name, sizeBytes: size))
        }
        let first = try await fixture.claim(limit: 9, bytesMax: 100)
        #expect(first.keys == ["a", "b"] && first.isHeldBack)
        let second = try await fixture.claim(limit: 9, bytesMax: 20)
        #expect(second.keys.isEmpty && second.isHeldBack)
        #expect(try await fixture.writer.spending(of: "lane", since: now.minute).map(\.bytes) == [80])
        let third = try await fixture.claim(limit: 9, bytesMax: .max, at: now + .seconds(60))
        #expect(third.keys == ["c", "d"] && !third.isHeldBack)
        let charges = try await fixture.writer.spending(of: "lane", since: now.minute)
        #expect(charges.map(\.bytes) == [80, 41] && charges.map(\.minute) == [now.minute, now.minute + 1])
        #expect(try await fixture.writer.spending(of: "lane", since: now.minute + 1).map(\.bytes) == [41])
        try await fixture.writer.refund(Charge(account: "lane", bytes: 40))
        #expect(try await fixture.writer.spending(of: "lane", since: now.minute).map(\.bytes) == [80, 1])
        try await fixture.writer.refund(Charge(account: "lane", bytes: 3))
        #expect(try await fixture.writer.spending(of: "lane", since: now.minute).map(\.bytes) == [78, 0])
        try await fixture.writer.refund(Charge(account: "lane", bytes: 100))
        #expect(try await fixture.writer.spending(of: "lane", since: now.minute).map(\.bytes) == [0, 0])
    }

    @Test("a copy that a read was charged for costs nothing when somebody else wants it too")
    func chargedOnce() async throws {
        let fixture = try Fixture()
        let scope = ScopeRow(kind: .tree, key: .empty, version: nil)
        let request = try await fixture.open(scopes: [scope])
        try await fixture.writer.commit(request)
        var row = restoreRow("a", state: .restored)
        row.chargedBytes = 7
        let progress = MetadataWriter.Progress.reached(scope, row.key)
        _ = try await fixture.writer.collect([row], into: request, progress, at: now) { $0 ?? $1 }
        try await fixture.wish(restoreRow("a", state: .restored))
        #expect(try await fixture.reader.restore(of: row.key, version: nil)?.chargedBytes == 7)
        #expect(try await fixture.writer.spending(of: "reads", since: 0).map(\.bytes) == [7])
    }

    @Test("sizes that no object has overflow nothing")
    func hugeSizes() async throws {
        let fixture = try Fixture()
        for name in ["a", "b", "c"] { _ = try await fixture.wish(restoreRow(name, sizeBytes: .max)) }
        #expect(try await fixture.claim(limit: 9, bytesMax: 100).keys.isEmpty)
        #expect(try await fixture.claim(limit: 9).keys == ["a", "b", "c"])
        let scope = ScopeRow(kind: .tree, key: .empty, version: nil)
        let request = try await fixture.open(scopes: [scope])
        try await fixture.writer.commit(request)
        let rows = ["d", "e", "f"].map { restoreRow($0, sizeBytes: .max) }
        _ = try await fixture.writer.collect(rows, into: request, .through([scope]), at: now) { $0 ?? $1 }
        let all = Tally(objects: 3, bytes: UInt64(Int64.max))
        #expect(try await fixture.reader.request(request)?.states == [.queued: all])
        let events = try await fixture.claim(limit: 9).rows.map { (id: $0.id, event: ()) }
        let finished = try await fixture.writer.change(events, at: now) { row, _ in
            var row = row
            row.state = .restored
            return row
        }.finished
        #expect(finished.map(\.states) == [[.restored: all, .failed: Tally()]])
        #expect(all + all + all == Tally(objects: 9, bytes: .max))
    }

    @Test("what is due comes in key order, page by page, with the versions of one key beside each other")
    func due() async throws {
        let fixture = try Fixture()
        for (name, version, state, seconds) in [
            ("b", nil, .restoring, 5), ("a", "v2", .restoring, 4), ("a", nil, .restoring, 5), ("c", nil, .restoring, 6),
            ("d", nil, .queued, 0), ("e", nil, .failed, 0), ("a", "v1", .restoring, 1),
        ] as [(String, String?, RestoreRow.State, Int64)] {
            var row = restoreRow(name, version: version, state: state)
            row.dueAt = Timestamp(seconds: seconds)
            _ = try await fixture.wish(row)
        }
        #expect(try await fixture.writer.nextDue() == Timestamp(seconds: 1))
        var position: (key: ObjectKey, version: String?) = (.empty, nil)
        var names: [String] = []
        while let row = try await fixture.writer.due(by: Timestamp(seconds: 5), after: position, limit: 1).first {
            names.append("\(row.key)@\(row.version ?? "")")
            position = (row.key, row.version)
        }
        #expect(names == ["a@", "a@v1", "a@v2", "b@"])
        #expect(try await fixture.writer.restoring(from: ObjectKey("a"), limit: 9).map(\.key) == ["a", "b", "c"].keys)
        #expect(try await fixture.writer.restoring(from: ObjectKey("b"), limit: 1).map(\.key) == ["b"].keys)
    }

    @Test("an id is never used again: news of a cancelled object reaches no other")
    func ids() async throws {
        let fixture = try Fixture()
        let first = try #require(try await fixture.wish(restoreRow("a")).rows.first)
        _ = try await fixture.claim(limit: 1)
        _ = try #require(try await fixture.writer.cancel(first.key, version: nil, at: now))
        let second = try #require(try await fixture.wish(restoreRow("b")).rows.first)
        #expect(second.id > first.id)
        let changes = try await fixture.writer.change([(id: first.id, event: ())], at: now) { row, _ in
            var row = row
            row.state = .failed
            return row
        }
        #expect(changes.rows.isEmpty)
        #expect(try await fixture.reader.restore(of: second.key, version: nil)?.state == .queued)
    }

    @Test("old failures, charges and finished requests are forgotten at a mount, and nothing else")
    func forgetting() async throws {
        let fixture = try Fixture()
        for (name, state) in [("failed", .failed), ("queued", .queued)] as [(String, RestoreRow.State)] {
            var row = restoreRow(name, state: state)
            row.dueAt = now
            _ = try await fixture.wish(row, charging: 7)
        }
        try await fixture.writer.forgetOldRestores(at: now + .seconds(6 * 86400))
        #expect(try await fixture.reader.restore(of: ObjectKey("failed"), version: nil) != nil)
        #expect(try await fixture.reader.requests(finishedMax: 9).count == 2)
        try await fixture.writer.forgetOldRestores(at: now + .seconds(8 * 86400))
        #expect(try await fixture.reader.restore(of: ObjectKey("failed"), version: nil) == nil)
        #expect(try await fixture.reader.restore(of: ObjectKey("queued"), version: nil) != nil)
        #expect(try await fixture.reader.requests(finishedMax: 9).count == 1)
        #expect(try await fixture.writer.spending(of: "reads", since: 0).map(\.bytes) == [14])
        try await fixture.writer.forgetOldRestores(at: now + .seconds(40 * 86400))
        #expect(try await fixture.writer.spending(of: "reads", since: 0).isEmpty)
    }

    @Test("a hundred thousand objects queue, are claimed and settle, and their request counts them all")
    func many() async throws {
        let fixture = try Fixture()
        let scope = ScopeRow(kind: .tree, key: .empty, version: nil)
        let request = try await fixture.open(scopes: [scope])
        try await fixture.writer.commit(request)
        for page in 0..<100 {
            let rows = (0..<1000).map { restoreRow("\(page)-\($0)", sizeBytes: 2) }
            let last = try #require(rows.last?.key)
            let progress: MetadataWriter.Progress = page == 99 ? .through([scope]) : .reached(scope, last)
            _ = try await fixture.writer.collect(rows, into: request, progress, at: now) { $0 ?? $1 }
        }
        var finished: [RequestCount] = []
        var claimed = 0
        while true {
            let rows = try await fixture.claim(limit: 1000).rows
            if rows.isEmpty { break }
            claimed += rows.count
            let events = rows.map { (id: $0.id, event: ()) }
            finished += try await fixture.writer.change(events, at: now) { row, _ in
                var row = row
                row.state = .restored
                return row
            }.finished
        }
        #expect(claimed == 100_000)
        #expect(finished.map(\.states) == [[.restored: Tally(objects: 100_000, bytes: 200_000), .failed: Tally()]])
        #expect(try await fixture.writer.nextDue() == nil)
    }
}

extension [String] {
    var keys: [ObjectKey] { map { ObjectKey($0) } }
}

extension RestoreClaim {
    var keys: [String] { rows.map { "\($0.key)" } }
}

extension Fixture {
    @discardableResult
    func wish(
        _ row: RestoreRow, charging bytes: UInt64 = 0, merging merge: @escaping RestoreMerge = { $0 ?? $1 }
    ) async throws -> RestoreChanges {
        var row = row
        row.chargedBytes = bytes
        return try await writer.wish(row, by: wishOfATest, at: now, merging: merge)
    }

    func open(scopes: [ScopeRow]) async throws -> Int64 {
        var request = wishOfATest
        request.stage = .described
        let id = try await writer.open(request)
        try await writer.add(scopes, to: id)
        return id
    }

    func claim(limit: Int, bytesMax: UInt64? = nil, at time: Timestamp = now) async throws -> RestoreClaim {
        try await writer.claim(lane: "lane", limit: limit, bytesMax: bytesMax, at: time)
    }

    /// Brings the object into this state. Answers the requests that this finished.
    @discardableResult
    func move(_ key: String, to state: RestoreRow.State, error: String? = nil) async throws -> [RequestCount] {
        let row = try await reader.restore(of: ObjectKey(key), version: nil)
        return try await writer.change([(id: row?.id ?? 0, event: ())], at: now) { row, _ in
            var row = row
            (row.state, row.error) = (state, error)
            return row
        }.finished
    }
}
