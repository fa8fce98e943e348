import Testing

@testable import Inventory

@Suite struct InventoryFilterTests {
    @Test("a report stands for a listing if its configuration leaves out nothing, or what is not below a directory",
        arguments: [
            ("", nil), ("<Filter></Filter>", nil), ("<Filter><Prefix></Prefix></Filter>", nil),
            ("<Filter><Prefix>logs/2024/</Prefix><StorageClass>All</StorageClass></Filter>", nil),
            ("<Filter><Prefix>logs/2024-</Prefix></Filter>", "Prefix logs/2024-"),
            ("<Filter><LowerSizeBound>1024</LowerSizeBound><StorageClass>IA</StorageClass></Filter>",
                "LowerSizeBound 1024, StorageClass IA"),
            ("<Filter><Prefix>logs/</Prefix><LastModifyBeginTimeStamp>1637883649</LastModifyBeginTimeStamp></Filter>",
                "LastModifyBeginTimeStamp 1637883649"),
        ] as [(String, String?)])
    func filters(_ filter: String, expected: String?) {
        let document = "<InventoryConfiguration><Id>daily</Id>\(filter)</InventoryConfiguration>"
        let problem = InventoryFilter.problem(Array(document.utf8), id: "daily")
        #expect((problem == nil) == (expected == nil))
        #expect(problem?.reason.contains("(\(expected ?? ""))") ?? true)
    }

    @Test("what is no document is not judged")
    func nonsense() {
        #expect(InventoryFilter.problem(Array("<oops".utf8), id: "daily") == nil)
    }
}
