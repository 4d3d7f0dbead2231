//! The nets that torchvision has own the same tensors under the same names: its checkpoints load with no renaming.
//! `tools/torchvision_names.py` writes the reference.

use std::collections::BTreeMap;
use std::error::Error;

type Tensors = BTreeMap<String, Vec<u64>>;

fn tensors_of(name: &str) -> Result<Tensors, netc::CompileError> {
    let compiled = netc::compile(format!("specs/{name}.net"))?;
    let (net, shapes) = (&compiled.net, &compiled.shapes);
    let of_node = |id| {
        let path = net.node(id).path.clone();
        shapes.params(net, id).into_iter().map(move |spec| (format!("{path}.{}", spec.leaf), spec.shape))
    };
    Ok(net.nodes().flat_map(of_node).collect())
}

#[test]
fn names_and_shapes_are_torchvisions() -> Result<(), Box<dyn Error>> {
    let reference = std::fs::read_to_string("tests/reference/torchvision_names.json")?;
    let reference: BTreeMap<String, Tensors> = serde_json::from_str(&reference)?;
    assert_eq!(reference.len(), 14);
    for (name, theirs) in reference {
        let ours = tensors_of(&name)?;
        let only = |a: &Tensors, b: &Tensors| -> Vec<String> {
            let missing = a.iter().filter(|(name, shape)| b.get(*name) != Some(shape));
            missing.map(|(name, shape)| format!("{name} {shape:?}")).collect()
        };
        assert_eq!(only(&theirs, &ours), Vec::<String>::new(), "{name}: in torchvision only");
        assert_eq!(only(&ours, &theirs), Vec::<String>::new(), "{name}: here only");
    }
    Ok(())
}
