import Testing
import Wire

@Suite("classes to store in")
struct StorageClassesTests {
    @Test("a class is known by its name in any case, and spelled as the provider does")
    func spelling() {
        #expect(StorageClass(spelledLike: "coldarchive", in: .oss) == StorageClass("ColdArchive"))
        #expect(StorageClass(spelledLike: "standard_ia", in: .s3) == StorageClass("STANDARD_IA"))
    }

    @Test("each dialect has its own", arguments: [("GLACIER", Dialect.oss), ("ColdArchive", .s3), ("", .s3)])
    func others(name: String, dialect: Dialect) {
        #expect(StorageClass(spelledLike: name, in: dialect) == nil)
    }

    @Test("every class with rules of restoring is one that objects can be given", arguments: [Dialect.oss, .s3])
    func archives(dialect: Dialect) {
        let names = ["Archive", "ColdArchive", "DeepColdArchive", "GLACIER", "DEEP_ARCHIVE"]
        let archives = names.map { StorageClass($0) }.filter { $0.archiveRules(dialect) != nil }
        #expect(!archives.isEmpty && archives.allSatisfy { StorageClass.known(in: dialect).contains($0) })
    }
}
