import Testing
import ThawCore

@testable import Vaults

@Suite struct VaultJobTests {
    @Test("the output of a job is the whole archive if its range is, and no size that a store may tell is a trap",
        arguments: [
            (100, "0-99", true), (100, "", true), (100, "0-98", false), (0, "0-0", false), (0, "0--1", false),
            (Int.min, "0-9", false), (-1, "", true), (Int.max, "0-9", false),
        ])
    func ranges(bytes: Int, range: String, isWhole: Bool) {
        let job = VaultJob([
            "JobId": "1", "StatusCode": "Succeeded", "ArchiveSizeInBytes": JSON(bytes),
            "RetrievalByteRange": .string(range),
        ])
        #expect(job?.isWhole == isWhole)
    }
}
