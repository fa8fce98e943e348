import Metadata
import Restore
import Testing
import ThawCore

@testable import thawfs

@Suite("progress of a restore")
struct ProgressTests {
    private static let now = Timestamp(seconds: 1_800_000_000)

    private static func progress(
        _ stages: [RestoreStage: Tally], eta: Duration? = nil, isCollecting: Bool = false
    ) -> RestoreProgress {
        var progress = RestoreProgress()
        progress.title = "request 17"
        progress.stages = stages
        progress.isFinished = false
        progress.isCollecting = isCollecting
        progress.eta = eta.map { now + $0 }
        return progress
    }

    private static let halfway = progress(
        [
            .restored: Tally(objects: 420, bytes: 540 << 30), .restoring: Tally(objects: 577, bytes: 539 << 30),
            .failed: Tally(objects: 3, bytes: 1 << 30),
        ], eta: .seconds(7800))
    private static let rate = RestoreRate(objectsPerSecond: 1.26, bytesPerSecond: 12_582_912)

    @Test("a line says objects and bytes by state, the rate and when it is ready")
    func line() {
        #expect(
            Self.halfway.line(rate: Self.rate, at: Self.now) == """
                request 17: 420/1,000 objects, 540 GiB/1.1 TiB, 3 failed, 577 restoring, 1.3 objects/s, 12 MiB/s, \
                ready in 2 h 10 min
                """)
    }

    @Test("a wide terminal has room for a bar of thirty cells and for everything")
    func wide() {
        #expect(
            Self.halfway.bar(width: 200, rate: Self.rate, at: Self.now) == """
                [###############---------------] 50%  420/1,000 objects  540 GiB/1.1 TiB  3 failed  577 restoring  \
                1.3 objects/s, 12 MiB/s  ready in 2 h 10 min
                """)
    }

    @Test("a bar is never wider than the terminal", arguments: 0...140)
    func width(columns: Int) {
        #expect(Self.halfway.bar(width: columns, rate: Self.rate, at: Self.now).count <= columns)
    }

    @Test(
        "what is missed least goes first when the terminal is narrow",
        arguments: [
            (79, "[###---] 50%  420/1,000 objects  540 GiB/1.1 TiB  3 failed  ready in 2 h 10 min"),
            (78, "[########--------] 50%  420/1,000 objects  540 GiB/1.1 TiB  3 failed"),
            (50, "[######------] 50%  420/1,000 objects  3 failed"), (36, "[####-----] 50%  420/1,000 objects"),
            (14, "[####----] 50%"), (3, "50%"), (0, ""),
        ])
    func narrow(columns: Int, expected: String) {
        let bar = Self.halfway.bar(width: columns, rate: Self.rate, at: Self.now)
        #expect(bar.drop { $0 != "]" } == expected.drop { $0 != "]" }, "\(bar)")
    }

    @Test("while objects are still being listed the total says that it grows")
    func collecting() {
        let progress = Self.progress([.queued: Tally(objects: 7, bytes: 7)], isCollecting: true)
        #expect(progress.line(at: Self.now) == "request 17: 0/7+ objects, 0 B/7 B+, 7 queued")
    }

    @Test("an estimate that has passed is no time")
    func overdue() {
        let progress = Self.progress([.restoring: Tally(objects: 1, bytes: 1)], eta: .seconds(-5))
        #expect(progress.line(at: Self.now).hasSuffix("ready any moment"))
    }

    @Test("empty objects are counted, where bytes say nothing")
    func emptyObjects() {
        let progress = Self.progress([.restored: Tally(objects: 1), .restoring: Tally(objects: 3)])
        #expect(progress.fraction == 0.25)
    }

    private static func request(finished: JSON, error: JSON, restored: Int) throws -> RequestSummary {
        try #require(
            RequestSummary([
                "id": 1, "origin": "command", "requester": "me", "target": "/", "created": "2027-01-15T08:00:00Z",
                "finished": finished, "error": error,
                "stages": ["restored": Tally(objects: restored, bytes: 10).json],
            ]))
    }

    @Test("several requests are shown as one, which is finished when all are")
    func several() throws {
        let requests = try [
            Self.request(finished: .null, error: .null, restored: 5),
            Self.request(finished: "2027-01-15T08:00:00Z", error: "late", restored: 2),
        ]
        let progress = RestoreProgress(requests)
        #expect(!progress.isFinished)
        #expect(progress[.restored] == Tally(objects: 7, bytes: 20))
        #expect(progress.error == "late")
        #expect(progress.title.isEmpty)
        #expect(RestoreProgress(Array(requests.dropFirst())).isFinished)
    }

    private static func request(
        error: JSON, incomplete: Bool, failed: Int = 0, cancelled: Int = 0
    ) throws -> RequestSummary {
        try #require(
            RequestSummary([
                "id": 1, "origin": "command", "requester": "me", "target": "/", "created": "2027-01-15T08:00:00Z",
                "finished": "2027-01-15T08:00:00Z", "error": error, "incomplete": .bool(incomplete),
                "stages": [
                    "restored": Tally(objects: 2, bytes: 10).json, "failed": Tally(objects: failed, bytes: 0).json,
                    "cancelled": Tally(objects: cancelled, bytes: 0).json,
                ],
            ]))
    }

    @Test("what was not looked through, failed or was cancelled is no success, and is said with the reason")
    func shortfalls() throws {
        func shortfall(_ requests: RequestSummary...) -> String? { RestoreProgress(requests).shortfall }
        let whole = try Self.request(error: "retried", incomplete: false)
        let cut = try Self.request(error: "AccessDenied", incomplete: true)
        #expect(shortfall(whole) == nil)
        #expect(shortfall(cut) == "not everything was looked through: AccessDenied")
        #expect(shortfall(cut, try Self.request(error: .null, incomplete: false))
            == "not everything was looked through: AccessDenied")
        #expect(shortfall(try Self.request(error: "gone", incomplete: false, failed: 1)) == "not all was restored: gone")
        #expect(shortfall(try Self.request(error: .null, incomplete: false, cancelled: 1)) == "not all was restored")
    }

    @Test("the status of a request that was cut short says so")
    func incompleteStatus() throws {
        let cut = try Self.request(error: "AccessDenied", incomplete: true, failed: 3)
        #expect(cut.state == "finished, incomplete, 3 failed")
        let lines = cut.lines(on: "/mnt", at: Self.now)
        #expect(lines.contains("  incomplete    not everything was looked through"))
        #expect(lines.contains("  last failure  AccessDenied"))
        let whole = try Self.request(error: .null, incomplete: false)
        #expect(whole.state == "finished")
        #expect(!whole.lines(on: "/mnt", at: Self.now).contains { $0.contains("incomplete") })
    }

    @Test("the rate is what became readable in the last minute, and nothing while nothing does")
    func rates() {
        var window = RateWindow()
        let start = Self.now
        #expect(window.add(Tally(), at: start) == nil)
        #expect(window.add(Tally(), at: start + .seconds(10)) == nil)
        let rate = window.add(Tally(objects: 40, bytes: 4000), at: start + .seconds(20))
        #expect(rate == RestoreRate(objectsPerSecond: 2, bytesPerSecond: 200))
        for second in stride(from: 30, through: 100, by: 10) {
            _ = window.add(Tally(objects: 40, bytes: 4000), at: start + .seconds(Int64(second)))
        }
        #expect(window.add(Tally(objects: 40, bytes: 4000), at: start + .seconds(110)) == nil)
    }
}
