import Database
import Metadata
import ObjectStore
import Testing
import ThawCore
import ThawTesting
import Wire

private let now = Timestamp(seconds: 1_800_000_000)

/// Random operations on the queue, with a recount of everything the triggers count after each.
@Suite("the restore queue's counters")
struct QueueCountersTests {
    private let states: [RestoreRow.State] = [.queued, .asking, .restoring, .restored, .failed]

    @Test("whatever happens in whatever order, requests count what they wait for and finish with the last of it",
        arguments: [1, 2, 3, 4] as [UInt64])
    func recounted(seed: UInt64) async throws {
        let fixture = try Fixture()
        var random = SeededGenerator(seed: seed)
        var collecting: [Int64] = []
        var finishedIDs: Set<Int64> = []
        for step in 0..<250 {
            let key = name(&random)
            let state = states.randomElement(using: &random) ?? .queued
            var finished: [RequestCount] = []
            switch Int.random(in: 0..<12, using: &random) {
            case 0...2:
                finished = try await fixture.wish(restoreRow(key)) { known, wished in
                    guard let known, !known.state.isPending else { return known ?? wished }
                    var fresh = wished
                    fresh.id = known.id
                    return fresh
                }.finished
            case 3...6:
                // What failed is left alone until somebody wishes for it again.
                let known = try await fixture.reader.restore(of: ObjectKey(key), version: nil)
                guard known?.state != .failed else { continue }
                finished = try await fixture.move(key, to: state)
            case 7:
                let cancelled = try await fixture.writer.cancel(ObjectKey(key), version: nil, at: now)
                finished = cancelled?.changes.finished ?? []
            case 8:
                let prefix = ObjectKey("\(Int.random(in: 0..<3, using: &random))/")
                finished = try await fixture.writer.cancelQueued(below: prefix, at: now).changes.finished
            case 9:
                let request = try await fixture.open(scopes: [ScopeRow(kind: .tree, key: .empty, version: nil)])
                try await fixture.writer.commit(request)
                collecting.append(request)
            case 10:
                guard let request = collecting.randomElement(using: &random) else { continue }
                let scope = ScopeRow(kind: .tree, key: .empty, version: nil)
                let isLast = Bool.random(using: &random)
                let names = (0..<3).map { _ in name(&random) }
                finished = try await fixture.writer.collect(
                    names.map { restoreRow($0, state: state) }, into: request,
                    isLast ? .through([scope]) : .reached(scope, ObjectKey(key)), at: now
                ) { $0 ?? $1 }?.finished ?? []
                if isLast { collecting.removeAll { $0 == request } }
            default: _ = try await fixture.claim(limit: 2)
            }
            for count in finished {
                #expect(finishedIDs.insert(count.request.id).inserted, "seed \(seed), step \(step): finished twice")
            }
            try recount(fixture.path, "seed \(seed), step \(step)")
        }
        #expect(!finishedIDs.isEmpty)
    }

    private func name(_ random: inout SeededGenerator) -> String {
        "\(Int.random(in: 0..<3, using: &random))/\(Int.random(in: 0..<8, using: &random))"
    }

    private func recount(_ path: String, _ place: String) throws {
        var options = Connection.Options()
        options.isReadOnly = true
        let connection = try Connection(.file(path), options: options)
        let wrong = try connection.prepare(
            """
            SELECT q.id, q.stage, q.pending, (SELECT count(*) FROM wish w JOIN restore r ON r.id = w.restore
                WHERE w.request = q.id AND r.state < 3) AS counted
            FROM request q WHERE q.pending <> counted OR (q.stage = 2 AND counted = 0)
            """)
        while try wrong.step() {
            Issue.record(
                "\(place): request \(wrong.int64(0)), stage \(wrong.int64(1)), has \(wrong.int64(2)), counted \(wrong.int64(3))")
        }
        let loose = try connection.prepare(
            """
            SELECT count(*) FROM wish w WHERE NOT EXISTS (SELECT 1 FROM restore WHERE id = w.restore)
                OR NOT EXISTS (SELECT 1 FROM request WHERE id = w.request AND stage < 3)
            UNION ALL SELECT count(*) FROM restore WHERE state <> 4 AND id NOT IN (SELECT restore FROM wish)
            """)
        while try loose.step() { #expect(loose.int64(0) == 0, "\(place): loose ends") }
    }
}
