import Testing
import ThawCore

@testable import Backup
@testable import thawfs

@Suite("progress of a restore from a backup")
struct BackupProgressTests {
    private static func job(_ id: String, _ status: String, _ progress: Int, bytes: Int) throws -> RestoreJob {
        try #require(RestoreJob([
            "RestoreId": .string(id), "Status": .string(status), "Progress": JSON(progress), "ItemsTotal": 1000,
            "ItemsDone": JSON(progress / 10), "BytesTotal": JSON(bytes), "BytesDone": JSON(bytes / 10_000 * progress),
        ]))
    }

    @Test("one job is named, and of several the one that is furthest behind speaks for all")
    func line() throws {
        let running = try Self.job("r-1", "RUNNING", 5000, bytes: 10_000 << 10)
        let complete = try Self.job("r-2", "COMPLETE", 10_000, bytes: 10_000 << 10)
        #expect(BackupProgress([running]).line == "job r-1: RUNNING 50%, 500/1,000 files, 4.9 MiB/9.8 MiB")
        #expect(
            BackupProgress([complete, running]).line == "2 jobs: RUNNING 75%, 1,500/2,000 files, 14.6 MiB/19.5 MiB")
        #expect(
            BackupProgress([running]).bar(width: 200)
                == "[###############---------------] 50%  500/1,000 files  4.9 MiB/9.8 MiB  RUNNING")
    }

    @Test("the bar is never wider than the terminal", arguments: 0...100)
    func width(columns: Int) throws {
        let jobs = [try Self.job("r-1", "PARTIAL_COMPLETE", 9999, bytes: 1 << 50)]
        #expect(BackupProgress(jobs).bar(width: columns).count <= columns)
    }
}
