// Generated from schemas/graph.fbs by tools/codegen.mjs; do not edit.
import type { BinarySchema } from '../file/binary-schema.ts';

export const graphSchema: BinarySchema = {
  identifier: 'QVR1',
  root: 'Module',
  tables: {
    Attachment: [
      {"name":"name","slot":4,"required":true,"type":{"kind":"string"}},
      {"name":"segment","slot":6,"required":false,"type":{"kind":"scalar","size":4}},
    ],
    Attribute: [
      {"name":"name","slot":4,"required":true,"type":{"kind":"string"}},
      {"name":"value_type","slot":6,"required":false,"type":{"kind":"scalar","size":1,"members":[0,1,2,3,4,5,6,7]}},
      {"name":"value","slot":8,"required":true,"type":{"kind":"union","tag":6,"members":{"1":"IntAttribute","2":"FloatAttribute","3":"BoolAttribute","4":"StringAttribute","5":"DTypeAttribute","6":"IntsAttribute","7":"DimsAttribute"}}},
    ],
    BoolAttribute: [
      {"name":"value","slot":4,"required":false,"type":{"kind":"scalar","size":1,"members":[0,1]}},
    ],
    DTypeAttribute: [
      {"name":"value","slot":4,"required":false,"type":{"kind":"scalar","size":1,"members":[0,1,2,3,4,5,6,7,8]}},
    ],
    DimsAttribute: [
      {"name":"values","slot":4,"required":true,"type":{"kind":"vector","of":{"kind":"scalar","size":8}}},
    ],
    Entry: [
      {"name":"key","slot":4,"required":true,"type":{"kind":"string"}},
      {"name":"value","slot":6,"required":true,"type":{"kind":"string"}},
    ],
    External: [
      {"name":"uri","slot":4,"required":true,"type":{"kind":"string"}},
      {"name":"key","slot":6,"required":true,"type":{"kind":"string"}},
      {"name":"sha256","slot":8,"required":true,"type":{"kind":"string"}},
    ],
    FloatAttribute: [
      {"name":"value","slot":4,"required":false,"type":{"kind":"scalar","size":8}},
    ],
    Function: [
      {"name":"name","slot":4,"required":true,"type":{"kind":"string"}},
      {"name":"values","slot":6,"required":false,"type":{"kind":"vector","of":{"kind":"table","table":"Value"}}},
      {"name":"inputs","slot":8,"required":false,"type":{"kind":"vector","of":{"kind":"scalar","size":4}}},
      {"name":"parameters","slot":10,"required":false,"type":{"kind":"vector","of":{"kind":"scalar","size":4}}},
      {"name":"states","slot":12,"required":false,"type":{"kind":"vector","of":{"kind":"scalar","size":4}}},
      {"name":"nodes","slot":14,"required":false,"type":{"kind":"vector","of":{"kind":"table","table":"Node"}}},
      {"name":"outputs","slot":16,"required":false,"type":{"kind":"vector","of":{"kind":"table","table":"Output"}}},
      {"name":"updates","slot":18,"required":false,"type":{"kind":"vector","of":{"kind":"table","table":"Update"}}},
      {"name":"plan","slot":20,"required":false,"type":{"kind":"table","table":"MemoryPlan"}},
    ],
    IntAttribute: [
      {"name":"value","slot":4,"required":false,"type":{"kind":"scalar","size":8}},
    ],
    IntsAttribute: [
      {"name":"values","slot":4,"required":true,"type":{"kind":"vector","of":{"kind":"scalar","size":8}}},
    ],
    MemoryPlan: [
      {"name":"slots","slot":4,"required":false,"type":{"kind":"vector","of":{"kind":"scalar","size":8}}},
      {"name":"slot_of","slot":6,"required":false,"type":{"kind":"vector","of":{"kind":"scalar","size":4}}},
    ],
    Module: [
      {"name":"format_version","slot":4,"required":false,"type":{"kind":"scalar","size":4}},
      {"name":"producer","slot":6,"required":false,"type":{"kind":"string"}},
      {"name":"name","slot":8,"required":true,"type":{"kind":"string"}},
      {"name":"opsets","slot":10,"required":false,"type":{"kind":"vector","of":{"kind":"table","table":"Opset"}}},
      {"name":"ops","slot":12,"required":false,"type":{"kind":"vector","of":{"kind":"table","table":"OpRef"}}},
      {"name":"dim_expressions","slot":14,"required":false,"type":{"kind":"vector","of":{"kind":"string"}}},
      {"name":"types","slot":16,"required":false,"type":{"kind":"vector","of":{"kind":"table","table":"TensorType"}}},
      {"name":"symbols","slot":18,"required":false,"type":{"kind":"vector","of":{"kind":"table","table":"Symbol"}}},
      {"name":"parameters","slot":20,"required":false,"type":{"kind":"vector","of":{"kind":"table","table":"Parameter"}}},
      {"name":"states","slot":22,"required":false,"type":{"kind":"vector","of":{"kind":"table","table":"State"}}},
      {"name":"functions","slot":24,"required":false,"type":{"kind":"vector","of":{"kind":"table","table":"Function"}}},
      {"name":"metadata","slot":26,"required":false,"type":{"kind":"vector","of":{"kind":"table","table":"Entry"}}},
      {"name":"attachments","slot":28,"required":false,"type":{"kind":"vector","of":{"kind":"table","table":"Attachment"}}},
      {"name":"segments","slot":30,"required":false,"type":{"kind":"vector","of":{"kind":"table","table":"Segment"}}},
    ],
    Node: [
      {"name":"op","slot":4,"required":false,"type":{"kind":"scalar","size":4}},
      {"name":"operands","slot":6,"required":false,"type":{"kind":"vector","of":{"kind":"scalar","size":4}}},
      {"name":"results","slot":8,"required":false,"type":{"kind":"vector","of":{"kind":"scalar","size":4}}},
      {"name":"attributes","slot":10,"required":false,"type":{"kind":"vector","of":{"kind":"table","table":"Attribute"}}},
      {"name":"location","slot":12,"required":false,"type":{"kind":"string"}},
      {"name":"annotations","slot":14,"required":false,"type":{"kind":"vector","of":{"kind":"table","table":"Entry"}}},
    ],
    OpRef: [
      {"name":"domain","slot":4,"required":true,"type":{"kind":"string"}},
      {"name":"name","slot":6,"required":true,"type":{"kind":"string"}},
      {"name":"version","slot":8,"required":false,"type":{"kind":"scalar","size":4}},
    ],
    Opset: [
      {"name":"domain","slot":4,"required":true,"type":{"kind":"string"}},
      {"name":"version","slot":6,"required":false,"type":{"kind":"scalar","size":4}},
    ],
    Output: [
      {"name":"name","slot":4,"required":true,"type":{"kind":"string"}},
      {"name":"value","slot":6,"required":false,"type":{"kind":"scalar","size":4}},
    ],
    Parameter: [
      {"name":"name","slot":4,"required":true,"type":{"kind":"string"}},
      {"name":"type","slot":6,"required":false,"type":{"kind":"scalar","size":4}},
      {"name":"trainable","slot":8,"required":false,"type":{"kind":"scalar","size":1,"members":[0,1]}},
      {"name":"segment","slot":10,"required":false,"type":{"kind":"scalar","size":4}},
      {"name":"external","slot":12,"required":false,"type":{"kind":"table","table":"External"}},
    ],
    Segment: [
      {"name":"offset","slot":4,"required":false,"type":{"kind":"scalar","size":8}},
      {"name":"byte_length","slot":6,"required":false,"type":{"kind":"scalar","size":8}},
      {"name":"sha256","slot":8,"required":false,"type":{"kind":"vector","of":{"kind":"scalar","size":1}}},
    ],
    State: [
      {"name":"name","slot":4,"required":true,"type":{"kind":"string"}},
      {"name":"type","slot":6,"required":false,"type":{"kind":"scalar","size":4}},
    ],
    StringAttribute: [
      {"name":"value","slot":4,"required":true,"type":{"kind":"string"}},
    ],
    Symbol: [
      {"name":"name","slot":4,"required":true,"type":{"kind":"string"}},
      {"name":"min","slot":6,"required":false,"type":{"kind":"scalar","size":8}},
      {"name":"max","slot":8,"required":false,"type":{"kind":"scalar","size":8}},
      {"name":"multiple","slot":10,"required":false,"type":{"kind":"scalar","size":8}},
    ],
    TensorType: [
      {"name":"dtype","slot":4,"required":false,"type":{"kind":"scalar","size":1,"members":[0,1,2,3,4,5,6,7,8]}},
      {"name":"dims","slot":6,"required":false,"type":{"kind":"vector","of":{"kind":"scalar","size":8}}},
    ],
    Update: [
      {"name":"ref","slot":4,"required":false,"type":{"kind":"scalar","size":4}},
      {"name":"value","slot":6,"required":false,"type":{"kind":"scalar","size":4}},
      {"name":"target","slot":8,"required":false,"type":{"kind":"scalar","size":1,"members":[0,1]}},
    ],
    Value: [
      {"name":"name","slot":4,"required":true,"type":{"kind":"string"}},
      {"name":"kind","slot":6,"required":false,"type":{"kind":"scalar","size":1,"members":[0,1,2,3]}},
      {"name":"type","slot":8,"required":false,"type":{"kind":"scalar","size":4}},
      {"name":"ref","slot":10,"required":false,"type":{"kind":"scalar","size":4}},
    ],
  },
};
