import Testing
import Wire

@Suite("what providers document about archive classes")
struct ArchiveTests {
    private func rules(_ dialect: Dialect, _ name: String) throws -> ArchiveRules {
        try #require(StorageClass(name).archiveRules(dialect))
    }

    @Test(
        "each class has its tiers, from the shortest documented time to the longest",
        arguments: [
            (.oss, "ColdArchive", .expedited, 0, 3600), (.oss, "ColdArchive", .standard, 7200, 18000),
            (.oss, "ColdArchive", .bulk, 18000, 43200), (.oss, "DeepColdArchive", .expedited, 0, 43200),
            (.oss, "DeepColdArchive", .standard, 0, 172_800), (.s3, "GLACIER", .expedited, 60, 300),
            (.s3, "GLACIER", .standard, 10800, 18000), (.s3, "GLACIER", .bulk, 18000, 43200),
            (.s3, "DEEP_ARCHIVE", .standard, 0, 43200), (.s3, "DEEP_ARCHIVE", .bulk, 0, 172_800),
        ] as [(Dialect, String, RestoreTier, Int, Int)])
    func times(dialect: Dialect, name: String, tier: RestoreTier, shortest: Int, longest: Int) throws {
        let rules = try rules(dialect, name)
        #expect(rules.shortest(tier) == .seconds(shortest))
        #expect(rules.longest(tier) == .seconds(longest))
        if tier == .standard {
            #expect(rules.shortest(nil) == .seconds(shortest))
            #expect(rules.longest(nil) == .seconds(longest))
        }
    }

    @Test("OSS Archive has no tiers and a time of its own; a tier that a class does not take has no times")
    func withoutTier() throws {
        let archive = try rules(.oss, "Archive")
        #expect(archive.tiers.isEmpty)
        #expect(archive.shortest(nil) == .zero)
        #expect(archive.longest(nil) == .seconds(60))
        #expect(archive.longest(.standard) == nil)
        #expect(try rules(.oss, "DeepColdArchive").longest(.bulk) == nil)
        #expect(try rules(.s3, "DEEP_ARCHIVE").shortest(.expedited) == .zero)
    }

    @Test("limits are the provider's; the classes of S3 share theirs, those of OSS have each its own")
    func limits() throws {
        let cold = try rules(.oss, "ColdArchive").limits
        #expect(cold.objectsPerSecond == 500)
        #expect(cold.bytesPerDay == 100_000_000_000_000)
        let deep = try rules(.oss, "DeepColdArchive").limits
        #expect(deep.objectsPerSecond == 100)
        #expect(deep.bytesPerDay == 10_000_000_000_000)
        let archive = try rules(.oss, "Archive").limits
        #expect(archive.objectsPerSecond == 1000)
        #expect(archive.bytesPerDay == nil)
        let glacier = try rules(.s3, "GLACIER").limits
        #expect(glacier.objectsPerSecond == 1000)
        #expect(glacier.bytesPerDay == nil)
        #expect(try rules(.s3, "DEEP_ARCHIVE").limits == glacier)
        #expect(Set([cold, deep, archive, glacier].map(\.lane)).count == 4)
    }
}
