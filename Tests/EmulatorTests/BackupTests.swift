import Testing
import ThawCore
import Wire

@testable import Emulator

private let now = Timestamp(seconds: 1_800_000_000)

private func job(_ parameters: [String: String] = [:], ending: String = "COMPLETE") -> Backups.Job {
    let files = ["/a", "/d/b", "/d/e/c.txt"].map { Backups.File(path: $0, content: .madeUp(sizeBytes: 1)) }
    let snapshot = Backups.Snapshot(
        id: "s-1", hash: "h", vault: "v-1", type: "OSS", origin: "bkt", created: now, files: files,
        duration: .seconds(100), ending: ending, error: "", failing: [])
    return Backups.Job(
        id: "r-1", parameters: ["RestoreType": "OSS"].merging(parameters) { $1 }, snapshot: snapshot, created: now)
}

@Suite struct BackupTests {
    @Test("a restore job goes through its states by the clock, and is complete when its files are written")
    func states() throws {
        let backups = Backups()
        try backups.withState { state throws(ProviderError) in state.jobs = [job()] }
        func status(_ seconds: Int64) throws -> (String, written: [String]) {
            var written: [String] = []
            backups.settle(at: now + .seconds(seconds)) { job, files in written = files.map { "\(job.key(of: $0))" } }
            let status = try backups.withState { state throws(ProviderError) in
                state.jobs[0].status(at: now + .seconds(seconds))
            }
            return (status, written)
        }
        let expected: [(Int64, String, [String])] = [
            (0, "CREATED", []), (5, "QUEUED", []), (10, "RUNNING", []), (109, "RUNNING", []),
            (110, "COMPLETE", ["a", "d/b", "d/e/c.txt"]), (111, "COMPLETE", []),
        ]
        for (seconds, name, files) in expected {
            let (status, written) = try status(seconds)
            #expect(status == name && written == files)
        }
    }

    @Test("one that is cancelled writes nothing, and one that cannot write has failed")
    func endings() throws {
        let backups = Backups()
        try backups.withState { state throws(ProviderError) in
            var cancelled = job()
            cancelled.cancelled = now + .seconds(20)
            state.jobs = [cancelled, job()]
        }
        backups.settle(at: now + .seconds(200)) { job, _ throws(ProviderError) in
            #expect(job.cancelled == nil)
            throw .noSuchBucket
        }
        let statuses = try backups.withState { state throws(ProviderError) in
            state.jobs.map { $0.status(at: now + .seconds(200)) }
        }
        #expect(statuses == ["CANCELED", "FAILED"])
    }

    @Test("paths are files, directories or patterns, with a slash in front or without", arguments: [
        (nil, nil, ["a", "d/b", "d/e/c.txt"]), ("[\"/d\"]", nil, ["d/b", "d/e/c.txt"]), ("[\"a\"]", nil, ["a"]),
        ("[\"/d/*.txt\"]", nil, ["d/e/c.txt"]), (nil, "[\"/d/e/\"]", ["a", "d/b"]),
        ("[\"/d\",\"/a\"]", "[\"/d\"]", ["a"]),
    ] as [(String?, String?, [String])])
    func paths(include: String?, exclude: String?, keys: [String]) {
        var parameters = ["TargetPrefix": "p/"]
        parameters["Include"] = include
        parameters["Exclude"] = exclude
        let job = job(parameters)
        #expect(job.files.map { "\(job.key(of: $0))" } == keys.map { "p/" + $0 })
    }
}
